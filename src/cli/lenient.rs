//! The output of a command that does something, or judges it.

use std::io::{self, Write};

/// Whatever becomes of what is written (a reader that went away, as in `dead-letters drop --all | head -1`, or a full disk behind `>`), the
/// command does all of its work and ends with the code that tells how it went.
pub struct Lenient<W> {
    out: W,
    /// Whether it was told that the output is not whole.
    told: bool,
}

impl Lenient<io::StdoutLock<'static>> {
    /// On standard output.
    pub fn on_stdout() -> Self {
        Self::new(io::stdout().lock())
    }
}

impl<W: Write> Lenient<W> {
    fn new(out: W) -> Self {
        Self { out, told: false }
    }

    fn lost(&mut self, error: &io::Error) {
        // A reader that went away has what it wanted.
        if error.kind() != io::ErrorKind::BrokenPipe && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%error, "cannot write to standard output; the work goes on, but not all of it is shown");
        }
    }
}

impl<W: Write> Write for Lenient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.write(bytes) {
            Ok(written) if written > 0 || bytes.is_empty() => Ok(written),
            Ok(_) => Ok(bytes.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.lost(&error);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = self.out.flush() {
            self.lost(&error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn an_output_that_nobody_takes_stops_nothing() {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            let mut lenient = Lenient::new(Broken(kind));
            for _ in 0..3 {
                writeln!(lenient, "dropped 1").unwrap();
            }
            lenient.flush().unwrap();
            assert_eq!(lenient.told, kind == io::ErrorKind::StorageFull);
        }
    }
}
