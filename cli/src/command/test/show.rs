//! The results as people see them.

use owo_colors::{OwoColorize as _, Style};
use stepmill_definition::Place;
use stepmill_testing::{Coverage, Outcome, SpotKind};

use super::report::{Ran, Report, shown_place};
use crate::command::validate::Wrong;
use crate::error::CliError;
use crate::output::Output;

/// Places that no case reaches and that are listed for each definition; the rest is counted.
const MISSED_MAX: usize = 50;

struct Styles {
    good: Style,
    bad: Style,
    warning: Style,
    quiet: Style,
}

impl Styles {
    fn new(colours: bool) -> Self {
        if !colours {
            let none = Style::new();
            return Self { good: none, bad: none, warning: none, quiet: none };
        }
        Self {
            good: Style::new().green(),
            bad: Style::new().red().bold(),
            warning: Style::new().yellow(),
            quiet: Style::new().dimmed(),
        }
    }
}

/// Shows all of it.
pub(super) fn show(out: Output, report: &Report<'_>) -> Result<(), CliError> {
    let styles = Styles::new(out.colours());
    for wrong in &report.wrong {
        // The mistakes belong to the file and are shown once; the report takes them over.
        let mistakes = wrong.mistakes.list().to_vec();
        if let Ok(document) = stepmill_definition::Document::parse(&wrong.source) {
            let shown = Wrong::new(&wrong.name, &wrong.source, document.mistakes(mistakes));
            out.note(&format!("{:?}", miette::Report::new(shown)));
        } else {
            out.note(&format!("{}: {}", wrong.name, wrong.mistakes));
        }
    }
    for ran in &report.files {
        out.text(&file(ran, &styles))?;
    }
    for (definition, coverage) in &report.coverage {
        out.text(&reached(definition, coverage, &styles))?;
    }
    let (count, failed) = (report.count(), report.failed());
    let cases = if count == 1 { "case" } else { "cases" };
    let result = match failed {
        0 => format!("{}", "all passed".style(styles.good)),
        _ => format!("{} passed, {}", count - failed, format_args!("{failed} failed").style(styles.bad)),
    };
    let wrong = match report.wrong.len() {
        0 => String::new(),
        n => format!(", {}", format_args!("{n} not run: a file is wrong").style(styles.bad)),
    };
    out.text(&format!("{count} {cases}: {result}{wrong} ({} ms)", report.took.as_millis()))
}

fn file(ran: &Ran<'_>, styles: &Styles) -> String {
    let mut lines = vec![format!("{} {}", ran.file.name, format_args!("(of {})", ran.file.of).style(styles.quiet))];
    for outcome in &ran.outcomes {
        case(ran, outcome, styles, &mut lines);
    }
    for warning in &ran.warnings {
        let place = Place { span: warning.span, path: String::new() };
        lines.push(format!("  {} {}: {}", "warning".style(styles.warning), shown_place(ran, &place), warning.message));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn case(ran: &Ran<'_>, outcome: &Outcome, styles: &Styles, lines: &mut Vec<String>) {
    if outcome.passed() {
        lines.push(format!("  {}   {}", "ok".style(styles.good), outcome.case));
    } else {
        lines.push(format!("  {} {}", "FAIL".style(styles.bad), outcome.case));
    }
    for failure in &outcome.failures {
        lines.push(format!("       {}", failure.message));
        lines.extend(failure.differences.iter().map(|difference| format!("         {difference}")));
        lines.extend(failure.help.lines().map(|line| format!("         {line}")));
        lines.push(format!("         {}", shown_place(ran, &failure.place).style(styles.quiet)));
    }
    for warning in &outcome.warnings {
        let place = Place { span: warning.span, path: String::new() };
        let place = shown_place(ran, &place);
        lines.push(format!("       {}: {} ({place})", "warning".style(styles.warning), warning.message));
    }
}

fn reached(definition: &str, coverage: &Coverage, styles: &Styles) -> String {
    let part = |kind, name| {
        let (reached, all) = coverage.count(kind);
        format!("{reached} of {all} {name} ({:.1} %)", coverage.percent(kind))
    };
    let (nodes, branches) = (part(SpotKind::Node, "nodes"), part(SpotKind::Branch, "branches"));
    let mut lines = vec![format!("{definition}: {nodes} and {branches} are reached")];
    let missed: Vec<_> = coverage.missed().collect();
    for spot in missed.iter().take(MISSED_MAX) {
        let branch = if spot.branch.is_empty() { String::new() } else { format!(": {}", spot.branch) };
        lines.push(format!("  {} {}{branch}", "not reached".style(styles.warning), spot.path));
    }
    if missed.len() > MISSED_MAX {
        lines.push(format!("  and {} more", missed.len() - MISSED_MAX));
    }
    lines.join("\n")
}
