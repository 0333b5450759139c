//! The recorded counts, and how those of today compare.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// By how much a count may differ from the recorded one, in per cent.
const TOLERANCE: u64 = 5;
/// The same where another compiler made the program: it inlines differently.
const TOLERANCE_OTHER_COMPILER: u64 = 25;

/// What made the program.
#[derive(PartialEq, Eq)]
pub(crate) struct Toolchain {
    pub(crate) compiler: String,
    pub(crate) target: String,
}

/// The compiler that cargo uses here.
pub(crate) fn toolchain() -> Toolchain {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    Toolchain { compiler: line("release: "), target: line("host: ") }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.txt")
}

/// What is recorded.
pub(crate) struct Counts {
    toolchain: Toolchain,
    counts: Vec<(String, u64)>,
}

/// What is wrong, and all counts side by side.
pub(crate) struct Verdict {
    pub(crate) wrong: String,
    pub(crate) table: String,
}

impl Counts {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(file()).unwrap();
        let mut lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(' ').unwrap());
        let mut head = |name: &str| lines.next().filter(|(n, _)| *n == name).unwrap().1.trim().to_owned();
        let toolchain = Toolchain { compiler: head("rustc"), target: head("target") };
        let counts = lines.map(|(name, count)| (name.to_owned(), count.trim().parse().unwrap())).collect();
        Self { toolchain, counts }
    }

    pub(crate) fn target(&self) -> &str {
        &self.toolchain.target
    }

    /// Every operation must be recorded, and every record must have its operation.
    pub(crate) fn compare(&self, here: &Toolchain, counted: &[(String, u64)]) -> Verdict {
        let mut verdict = Verdict { wrong: String::new(), table: String::new() };
        let same = self.toolchain == *here;
        let tolerance = if same { TOLERANCE } else { TOLERANCE_OTHER_COMPILER };
        if !same {
            let (there, here) = (&self.toolchain.compiler, &here.compiler);
            verdict
                .say(&format!("recorded with rustc {there}, this is {here}: {tolerance} % of difference are allowed"));
        }
        for (name, now) in counted {
            let Some((_, then)) = self.counts.iter().find(|(n, _)| n == name) else {
                verdict.complain(&format!("{name}: {now} instructions, nothing is recorded"));
                continue;
            };
            let line = format!("{name}: {now} instructions, recorded {then} ({:+.1} %)", change(*then, *now));
            if now * 100 > then * (100 + tolerance) {
                verdict.complain(&format!("{line}: worse by more than {tolerance} %"));
            } else if now * (100 + tolerance) < then * 100 {
                verdict.complain(&format!("{line}: better by more than {tolerance} %, please record it"));
            } else {
                verdict.say(&line);
            }
        }
        for (name, _) in self.counts.iter().filter(|(name, _)| !counted.iter().any(|(n, _)| n == name)) {
            verdict.complain(&format!("{name}: recorded, but no longer an operation"));
        }
        verdict
    }
}

impl Verdict {
    fn say(&mut self, line: &str) {
        writeln!(self.table, "{line}").unwrap();
    }

    fn complain(&mut self, line: &str) {
        self.say(line);
        writeln!(self.wrong, "{line}").unwrap();
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, to a tenth of a per cent")]
fn change(then: u64, now: u64) -> f64 {
    (now as f64 / then as f64 - 1.0) * 100.0
}

/// Records counts.
pub(crate) fn write(here: &Toolchain, counted: &[(String, u64)]) {
    let mut text = String::from(
        "# Instructions per operation, counted by callgrind; the operations are in `program.rs`. Recorded by\n\
         # STEPMILL_REWRITE=1 cargo nextest run -p stepmill-instructions\n",
    );
    writeln!(text, "rustc {}\ntarget {}", here.compiler, here.target).unwrap();
    for (name, count) in counted {
        writeln!(text, "{name:<26} {count:>9}").unwrap();
    }
    std::fs::write(file(), text).unwrap();
}
