//! The only place that prints. Results go to stdout, everything else to stderr, so that a pipe sees results only.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is the one that prints")]

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::error::CliError;

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether machines read the answer.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether to draw progress: for people who look at a terminal only.
    pub(crate) fn draws(self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }

    /// Whether results may have colours: for people who look at a terminal and have not refused them.
    pub(crate) fn colours(self) -> bool {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        !self.json && !refused && std::io::stdout().is_terminal()
    }

    /// Prints a result for people, with a line end.
    pub(crate) fn text(self, text: &str) -> Result<(), CliError> {
        if self.json { Ok(()) } else { write_stdout(format!("{text}\n").as_bytes()) }
    }

    /// Prints a result for machines: one line of JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let mut line =
            serde_json::to_vec(value).map_err(|e| CliError::new(format!("the answer has no JSON form: {e}")))?;
        line.push(b'\n');
        write_stdout(&line)
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), CliError> {
        write_stdout(bytes)
    }

    /// Says something to people that is no result (stderr; not to machines).
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            write_stderr(text);
        }
    }

    /// Says how a command failed: to people as a report, to machines as one line of JSON, both on stderr.
    pub(crate) fn error(self, error: &CliError) {
        let text = if self.json { error.as_json().map(|v| v.to_string()) } else { error.render() };
        if let Some(text) = text {
            write_stderr(text.trim_end());
        }
    }
}

// A reader that went away (`| head`) is no failure, but there is nothing left to do.
fn write_stdout(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| match e.kind() == ErrorKind::BrokenPipe {
        true => CliError::silent(0),
        false => CliError::new(format!("cannot write to stdout: {e}")),
    })
}

// Nowhere is left to say that stderr is gone.
fn write_stderr(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A plain table for people, with these headings.
pub(crate) fn table(headings: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if !headings.is_empty() {
        table.set_header(headings);
    }
    table
}
