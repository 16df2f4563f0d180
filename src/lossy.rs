//! Words for people and logs, on streams that may be full or gone. Owns that nothing stops because nobody can be told:
//! what `println!` and `eprintln!` do then is panic, after the work was done or instead of an exit code.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes what can be written and loses the rest: there is nowhere to say that it is lost.
pub struct Lossy<W>(pub W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody can be told.
        drop(self.0.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        drop(self.0.flush());
        Ok(())
    }
}

/// Prints on standard output, as a line, what was done. An answer that somebody asked for is printed otherwise: that it
/// could not be is a failure.
pub fn print(text: Arguments<'_>) {
    line(io::stdout().lock(), text);
}

/// Says something on standard error, as a line.
pub fn remark(text: Arguments<'_>) {
    line(io::stderr().lock(), text);
}

fn line(stream: impl Write, text: Arguments<'_>) {
    // It loses its errors.
    drop(writeln!(Lossy(stream), "{text}"));
}
