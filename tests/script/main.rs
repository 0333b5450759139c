//! Conversations with the engine: one story per `*.txt` file, with recorded answers. `STEPMILL_REWRITE=1` refreshes the
//! answers; read the difference before you keep it.
//!
//! A block is a command line (and, for `define`, the definition's text), a line `----`, and the answer, ended by an empty
//! line. `@5s` before a command sets the time. After every event the run is written and read back, as a restart would.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken script should stop the test at its place")]

mod command;
mod show;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use world::World;

#[test]
fn every_script_gets_its_recorded_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("script");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(files.len() >= 25, "only {} scripts were found", files.len());
    let rewrite = std::env::var_os("STEPMILL_REWRITE").is_some();
    let mut wrong = String::new();
    for path in files {
        let recorded = std::fs::read_to_string(&path).unwrap();
        let answered = answer(&path, &recorded);
        if answered == recorded {
            continue;
        }
        if rewrite {
            std::fs::write(&path, answered).unwrap();
        } else {
            writeln!(wrong, "{}:\n{}", path.display(), difference(&recorded, &answered)).unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nSTEPMILL_REWRITE=1 refreshes the answers; read the difference before you keep it"
    );
}

/// The script with the answers that the engine gives now.
fn answer(path: &Path, script: &str) -> String {
    let mut world = World::default();
    let mut written = String::new();
    for (number, block) in script.split("\n\n").map(|b| b.trim_matches('\n')).filter(|b| !b.is_empty()).enumerate() {
        if number > 0 {
            written.push('\n');
        }
        let comment = block.lines().take_while(|line| line.starts_with('#')).count();
        let asked: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        let (first, rest) = asked.split_at(comment);
        writeln!(written, "{}", asked.join("\n")).unwrap();
        assert!(!rest.is_empty(), "{}: a comment needs a command below it: {first:?}", path.display());
        let place = format!("{}, block {}", path.display(), number + 1);
        writeln!(written, "----\n{}", command::run(&mut world, rest, &place).trim_end()).unwrap();
    }
    written
}

/// The first lines that differ, with those around them.
fn difference(recorded: &str, answered: &str) -> String {
    let (recorded, answered): (Vec<&str>, Vec<&str>) = (recorded.lines().collect(), answered.lines().collect());
    let at = recorded.iter().zip(&answered).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&str]| {
        lines.iter().skip(at.saturating_sub(3)).take(10).map(|l| format!("  {l}\n")).collect::<String>()
    };
    format!("line {}, recorded:\n{}answered:\n{}", at + 1, show(&recorded), show(&answered))
}
