//! Answering an expression from the beginning of a body that nobody has parsed.

use super::xpath::{Form, Kind, Known, Progress, Wanted};
use super::{Expr, LocalEntries, Scope};
use crate::clock::Clock;
use crate::message::addressing::{FINAL, SUBMISSION};
use crate::message::envelope::{SOAP11, SOAP12};
use crate::message::media::Media;
use crate::message::{Answer, BodyLimits, Exchange, Fault, Message, SoapVersion};
use crate::settings::Settings;

/// What a look leaves on the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effects {
    /// The message is as if its body had been built; bodies whose building would have further effects are not looked
    /// at.
    AsBuilt,
    /// None.
    None,
}

/// What surrounds a message, see [`Scope`].
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Its exchange.
    pub exchange: &'a Exchange,
    /// Local entries of the plan it runs on.
    pub entries: &'a LocalEntries,
    /// The clock.
    pub clock: &'a Clock,
    /// Settings.
    pub settings: &'a Settings,
}

impl Around<'_> {
    fn scope<'m>(&'m self, message: &'m Message) -> Scope<'m> {
        Scope {
            message,
            exchange: self.exchange,
            entries: self.entries,
            clock: self.clock,
            settings: self.settings,
        }
    }
}

const AS_BUILT: Known = Known {
    soap11: SOAP11,
    soap12: SOAP12,
    effects: &[FINAL, SUBMISSION],
};

impl Expr {
    /// Reads as much of the body as the answer needs, and leaves it to be sent on or built. `None` when the body has
    /// to be built for the answer.
    ///
    /// # Errors
    /// When the body cannot be received; it is lost then.
    pub async fn look(
        &self,
        wanted: Wanted,
        effects: Effects,
        around: Around<'_>,
        message: &mut Message,
        limits: &BodyLimits,
    ) -> Result<Option<Answer>, Fault> {
        let Expr::XPath(xpath) = self else {
            return Ok(None);
        };
        let Some((media, utf8)) = message.xml_media() else {
            return Ok(None);
        };
        let form = match media {
            Media::TextXml => Form::Either,
            Media::SoapXml => Form::Soap12,
            _ => Form::Plain,
        };
        let known = match effects {
            Effects::AsBuilt => AS_BUILT,
            Effects::None => Known {
                effects: &[],
                ..AS_BUILT
            },
        };
        let Some(mut look) = xpath.look(wanted, form, known, &limits.xml, utf8) else {
            return Ok(None);
        };
        loop {
            let progress = match message.body.seen() {
                Some((bytes, complete)) => look.advance(bytes, complete, &around.scope(message)),
                None => Progress::Tree,
            };
            match progress {
                Progress::More => message.look(limits).await?,
                Progress::Tree => return Ok(None),
                Progress::Answer(answer) => {
                    if effects == Effects::AsBuilt {
                        let soap = match look.kind() {
                            Some(Kind::Soap(SOAP12)) => Some(SoapVersion::V12),
                            Some(Kind::Soap(_)) => Some(SoapVersion::V11),
                            Some(Kind::Plain) | None => None,
                        };
                        message.looks_like(soap, limits);
                    }
                    return Ok(Some(answer));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
