//! Reads a stream of server-sent events (WHATWG HTML, section 9.2.6) from bytes that come in pieces of any size.
//! Owns the unfinished rest; knows nothing of what the events mean.

use std::collections::VecDeque;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// The `id:` field, if the event has one.
    pub id: Option<String>,
    /// The `event:` field; empty when absent.
    pub event: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// The parser.
#[derive(Debug, Default)]
pub struct Parser {
    rest: Vec<u8>,
    open: Frame,
    data_lines: usize,
    done: VecDeque<Frame>,
    comments: usize,
}

impl Parser {
    /// Takes the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\n', '\r']));
        }
    }

    /// The next whole event, if there is one.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.done.pop_front()
    }

    /// Comments seen so far, such as heartbeats.
    #[must_use]
    pub fn comments(&self) -> usize {
        self.comments
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.open);
            let lines = std::mem::take(&mut self.data_lines);
            if lines > 0 || !frame.event.is_empty() {
                self.done.push_back(frame);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "id" => self.open.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.open.event),
            "data" => {
                if self.data_lines > 0 {
                    self.open.data.push('\n');
                }
                self.open.data.push_str(value);
                self.data_lines += 1;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
