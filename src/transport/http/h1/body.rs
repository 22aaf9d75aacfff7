//! The body of a message, taken out of the bytes that follow its head (RFC 9112 §6, §7).

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of chunk extensions in one body.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// Bytes of all trailers of a body.
const MOST_TRAILER_BYTES: usize = 16 * 1024;
/// Trailers of a body.
const MOST_TRAILERS: usize = 100;

/// How much of a body is still to come, and in which form.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes; zero is the end.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Everything until the peer closes.
    ToEnd,
}

/// What the bytes at hand are.
#[derive(Debug)]
pub(super) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// More must be read first.
    More,
    End,
}

/// The framing of a body is wrong; the text says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub &'static str);

impl Decoder {
    /// A body in chunks.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks::default())
    }

    /// Whether nothing more belongs to the body.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_over(),
            Self::ToEnd => false,
        }
    }

    /// Takes the next piece out of what was read.
    pub(super) fn next(&mut self, read: &mut Bytes) -> Result<Step, Broken> {
        match self {
            Self::Length(0) => Ok(Step::End),
            Self::Chunked(chunks) => chunks.next(read),
            _ if read.is_empty() => Ok(Step::More),
            Self::Length(left) => {
                let data = take(read, *left);
                *left -= data.len() as u64;
                Ok(Step::Data(data))
            }
            Self::ToEnd => Ok(Step::Data(std::mem::take(read))),
        }
    }
}

fn take(read: &mut Bytes, most: u64) -> Bytes {
    match usize::try_from(most) {
        Ok(most) if most < read.len() => read.split_to(most),
        _ => std::mem::take(read),
    }
}

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Start,
    Size,
    /// White space behind the size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// A body in chunks.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// The size being read, then what is left of the chunk.
    left: u64,
    extensions: usize,
    /// The trailer section as far as it came; empty when there is none.
    trailers: Vec<u8>,
    /// What was found wrong, perhaps while looking ahead: then it is told when it is its turn.
    broken: Option<Broken>,
}

impl Chunks {
    fn is_over(&self) -> bool {
        self.at == At::End && self.trailers.is_empty() && self.broken.is_none()
    }

    fn next(&mut self, read: &mut Bytes) -> Result<Step, Broken> {
        let step = match self.broken {
            Some(broken) => Err(broken),
            None => self.step(read),
        };
        if let Err(broken) = &step {
            self.broken = Some(*broken);
        }
        step
    }

    fn step(&mut self, read: &mut Bytes) -> Result<Step, Broken> {
        self.skip(read)?;
        match self.at {
            At::End if self.trailers.is_empty() => Ok(Step::End),
            At::End => trailers(&std::mem::take(&mut self.trailers)).map(Step::Trailers),
            At::Data if !read.is_empty() => {
                let data = take(read, self.left);
                self.left -= data.len() as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                    // Whoever knows that this was the last piece need not ask for another.
                    self.broken = self.skip(read).err();
                }
                Ok(Step::Data(data))
            }
            _ => Ok(Step::More),
        }
    }

    /// Reads what is between the pieces of data.
    fn skip(&mut self, read: &mut Bytes) -> Result<(), Broken> {
        while !matches!(self.at, At::Data | At::End)
            && let Some(&byte) = read.first()
        {
            read.advance(1);
            self.at = match (self.at, byte) {
                (At::Start | At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    let digit = char::from(byte).to_digit(16).unwrap_or_default();
                    self.left = self
                        .left
                        .checked_mul(16)
                        .and_then(|size| size.checked_add(digit.into()))
                        .ok_or(Broken("the size of a chunk is too large"))?;
                    At::Size
                }
                (At::Size | At::Space, b'\t' | b' ') => At::Space,
                (At::Size | At::Space, b';') => At::Extension,
                (At::Size | At::Space | At::Extension, b'\r') => At::SizeLf,
                (At::Start | At::Size | At::Space, _) => {
                    return Err(Broken("the size of a chunk is no number"));
                }
                // A line feed alone would let others see the end of the line elsewhere.
                (At::Extension, b'\n') => {
                    return Err(Broken("a chunk extension has a line feed"));
                }
                (At::Extension, _) => {
                    self.extensions += 1;
                    if self.extensions >= MOST_EXTENSIONS {
                        return Err(Broken("the chunk extensions are too long"));
                    }
                    At::Extension
                }
                (At::SizeLf, b'\n') if self.left == 0 => At::Trailers,
                (At::SizeLf, b'\n') => At::Data,
                (At::DataCr, b'\r') => At::DataLf,
                (At::DataLf, b'\n') => At::Start,
                (At::SizeLf | At::DataCr | At::DataLf, _) => {
                    return Err(Broken("a chunk does not end where its size says"));
                }
                // Others may take it for the end of a line, or of all lines.
                (At::Trailers, _) if self.trailers.last() == Some(&b'\r') && byte != b'\n' => {
                    return Err(Broken("the trailers have a carriage return alone"));
                }
                (At::Trailers, _) => {
                    self.trailers.push(byte);
                    if self.trailers == b"\r\n" {
                        self.trailers = Vec::new();
                        At::End
                    } else if self.trailers.ends_with(b"\r\n\r\n") {
                        At::End
                    } else if self.trailers.len() >= MOST_TRAILER_BYTES {
                        return Err(Broken("the trailers are too long"));
                    } else {
                        At::Trailers
                    }
                }
                (At::Data | At::End, _) => self.at,
            };
        }
        Ok(())
    }
}

fn trailers(section: &[u8]) -> Result<HeaderMap, Broken> {
    const WRONG: Broken = Broken("the trailers are malformed");
    let mut lines = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let Ok(httparse::Status::Complete((_, lines))) = httparse::parse_headers(section, &mut lines)
    else {
        return Err(WRONG);
    };
    let mut map = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| WRONG)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| WRONG)?;
        map.append(name, value);
    }
    Ok(map)
}
