//! The printed form of messages, and the thread that writes it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread;

use hyper::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::pretty;

/// So many bytes of a body are printed at most.
pub(super) const MAX_SHOWN: usize = 64 * 1024;
/// Exchanges that may wait for being printed; further requests wait until the output keeps up.
const MAX_WAITING: usize = 1024;

/// Which way a message goes, and so which arrow it gets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    Request,
    Response(StatusCode),
}

/// How a body ended.
#[derive(Debug)]
pub(super) enum End {
    Complete,
    /// There is more than gets printed.
    Longer,
    /// Nobody wanted the rest.
    CutOff,
    /// The sender failed.
    Broken(String),
}

/// Room for one exchange in the queue of the printer.
pub(super) type Slot = Option<Arc<OwnedSemaphorePermit>>;

/// A message whose body is still on its way.
#[derive(Debug)]
pub(super) struct Draft {
    printer: Printer,
    message: Message,
}

#[derive(Debug)]
struct Message {
    label: String,
    direction: Direction,
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
    /// Keeps the place in the queue until the message is written.
    _slot: Slot,
}

#[derive(Debug)]
enum Event {
    Message(Box<Message>, End),
    Note { label: String, text: String },
    Problem { label: String, text: String },
    Finish(oneshot::Sender<()>),
}

impl Draft {
    pub(super) fn new(
        printer: &Printer,
        slot: Slot,
        label: &str,
        direction: Direction,
        line: String,
        headers: Vec<String>,
    ) -> Self {
        Self {
            printer: printer.clone(),
            message: Message {
                label: label.to_owned(),
                direction,
                line,
                headers,
                body: Vec::new(),
                _slot: slot,
            },
        }
    }

    /// Takes a copy of the next part of the body. `false` if it was more than gets printed.
    pub(super) fn add(&mut self, data: &[u8]) -> bool {
        let room = MAX_SHOWN.saturating_sub(self.message.body.len());
        self.message.body.extend(data.iter().take(room));
        data.len() <= room
    }

    pub(super) fn print(self, end: End) {
        let Self { printer, message } = self;
        printer.send(Event::Message(Box::new(message), end));
    }
}

/// A handle to the printing thread. The thread ends when all handles are gone.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    events: mpsc::Sender<Event>,
    slots: Arc<Semaphore>,
}

impl Printer {
    pub(super) fn start(mut sink: impl Write + Send + 'static, colour: bool) -> io::Result<Self> {
        // Unbounded, so that bodies never wait for the output; the slots bound it instead.
        let (events, queue) = mpsc::channel();
        thread::Builder::new()
            .name("tap-printer".to_owned())
            .spawn(move || {
                let mut works = true;
                while let Ok(event) = queue.recv() {
                    let text = match event {
                        Event::Message(message, end) => render(&message, &end, colour),
                        Event::Note { label, text } => {
                            format!("{} {text}\n", paint(&label, "1", colour))
                        }
                        Event::Problem { label, text } => {
                            let text = pretty::printable(&text);
                            let text = paint(&format!("✗ {text}"), "31", colour);
                            format!("{} {text}\n\n", paint(&label, "1", colour))
                        }
                        Event::Finish(done) => {
                            // Nobody may be waiting any more, which is fine.
                            let _ = done.send(());
                            return;
                        }
                    };
                    let written = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
                    if let (true, Err(error)) = (works, written) {
                        // The traffic matters more than its print, so forwarding goes on.
                        tracing::warn!(%error, "cannot write the output of the tap");
                        works = false;
                    }
                }
            })?;
        Ok(Self {
            events,
            slots: Arc::new(Semaphore::new(MAX_WAITING)),
        })
    }

    /// Waits for room in the queue. The slot is free again when all its copies are gone.
    pub(super) async fn slot(&self) -> Slot {
        let slots = Arc::clone(&self.slots);
        // The semaphore is never closed, so there is always a permit in the end.
        slots.acquire_owned().await.ok().map(Arc::new)
    }

    pub(super) fn note(&self, label: &str, text: String) {
        let label = label.to_owned();
        self.send(Event::Note { label, text });
    }

    pub(super) fn problem(&self, label: &str, text: String) {
        let label = label.to_owned();
        self.send(Event::Problem { label, text });
    }

    /// Returns when everything sent so far is written, and ends the thread.
    pub(super) async fn finish(self) {
        let (done, written) = oneshot::channel();
        self.send(Event::Finish(done));
        // An error means that the thread has ended already.
        let _ = written.await;
    }

    fn send(&self, event: Event) {
        // Fails only after `finish`, when late messages are of no interest.
        let _ = self.events.send(event);
    }
}

fn render(message: &Message, end: &End, colour: bool) -> String {
    let (arrow, style) = match message.direction {
        Direction::Request => ('→', "36"),
        Direction::Response(status) => ('←', status_style(status)),
    };
    let mut out = format!(
        "{} {}\n",
        paint(&message.label, "1", colour),
        paint(
            &format!("{arrow} {}", pretty::printable(&message.line)),
            style,
            colour
        ),
    );
    for header in &message.headers {
        push_indented(&mut out, &pretty::printable(header));
    }
    if !message.body.is_empty() {
        out.push('\n');
        let complete = matches!(end, End::Complete);
        push_indented(&mut out, &pretty::body(&message.body, complete));
    }
    let size = message.body.len();
    let note = match end {
        End::Complete => None,
        End::Longer => Some(format!("… only the first {size} bytes are shown")),
        End::CutOff => Some(format!("… cut off after {size} bytes")),
        End::Broken(reason) => Some(format!("… broken off after {size} bytes: {reason}")),
    };
    if let Some(note) = note {
        let _ = writeln!(out, "    {}", paint(&note, "33", colour));
    }
    out.push('\n');
    out
}

fn push_indented(out: &mut String, text: &str) {
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str("    ");
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn status_style(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "32",
        400..500 => "33",
        500.. => "31",
    }
}

fn paint(text: &str, style: &str, colour: bool) -> String {
    if colour {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn colours_are_used_only_when_asked_for() {
        let mut message = Message {
            label: "[9001 #1]".to_owned(),
            direction: Direction::Response(StatusCode::NOT_FOUND),
            line: "HTTP/1.1 404 Not \x1b[1mFound".to_owned(),
            headers: vec!["X-A: \u{9b}1m".to_owned()],
            body: b"gone".to_vec(),
            _slot: None,
        };
        let shown = render(&message, &End::CutOff, true).replace('\x1b', "ESC");
        expect![[r#"
            ESC[1m[9001 #1]ESC[0m ESC[33m← HTTP/1.1 404 Not \u{1b}[1mFoundESC[0m
                X-A: \u{9b}1m

                gone
                ESC[33m… cut off after 4 bytesESC[0m

        "#]]
        .assert_eq(&shown);
        message.direction = Direction::Request;
        assert!(!render(&message, &End::Complete, false).contains('\x1b'));
    }

    #[test]
    fn a_broken_sink_does_not_stop_anything() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let printer = Printer::start(Broken, false).unwrap();
            let mut draft = Draft::new(
                &printer,
                printer.slot().await,
                "[1]",
                Direction::Request,
                String::new(),
                Vec::new(),
            );
            assert!(draft.add(&[b'x'; MAX_SHOWN]));
            assert!(!draft.add(b"x"));
            assert_eq!(printer.slots.available_permits(), MAX_WAITING - 1);
            draft.print(End::Longer);
            let slots = Arc::clone(&printer.slots);
            printer.finish().await;
            assert_eq!(slots.available_permits(), MAX_WAITING);
        });
    }
}
