//! The page.

use std::fmt::Write as _;

use super::plan::{BARE_MEASURED, BARE_PART, Entry, Figure, Must};
use super::sheet::{Row, Sheet, Spread, rows};

const OTHERS: &str = include_str!("others.md");

/// Markdown, with everything that was measured.
pub(super) fn write(
    entries: &[Entry],
    sheet: &Sheet,
    machine: &[(&'static str, String)],
    rounds: u32,
    quick: bool,
) -> String {
    let rows = rows(entries, sheet);
    let mut page = String::from("# Benchmarks\n\n");
    let size = if quick { " --quick" } else { "" };
    let mut say = |text: &str| page.push_str(text);
    say(&format!("Written by `stepmill bench report{size} --rounds {rounds}`; do not edit. "));
    if quick {
        say("**The loads were small: these figures only show that everything runs.** ");
    }
    say(
        "Medians of all rounds, with the least and the most in brackets. In each round a workload runs right after the floor with the \
         same load, and the ratio is taken within the round (of times and costs, the floor's divided by ours).\n\n",
    );
    say(&validity(&rows));
    say("\n## Results\n\n");
    say(&results(&rows));
    say(&failures(sheet));
    say("\n## Where\n\n");
    say(&place(entries, sheet, machine, &rows));
    say("\n## Commands\n\n");
    say(&commands(entries));
    say("\n");
    say(OTHERS);
    page
}

/// Whether the floor can be believed.
fn validity(rows: &[Row<'_>]) -> String {
    let bare = rows.iter().find(|row| matches!(row.figure.must[..], [Must::AtLeast(least)] if is_bare(least)));
    let Some(spread) = bare.and_then(|row| row.value) else {
        return "The raw loop (`floor-bare`) was not measured, so the ratios are without their proof.\n".into();
    };
    let part = spread.median / BARE_MEASURED;
    let verdict =
        if part >= BARE_PART { "so the floor is one" } else { "**so this page is void**: the machine was busy" };
    format!(
        "The raw loop with plain streams reached {} steps per second, {:.0} % of the {} that were measured before; {:.0} % are \
         needed, {verdict}.\n",
        number(spread.median, 0),
        part * 100.0,
        number(BARE_MEASURED, 0),
        BARE_PART * 100.0
    )
}

fn is_bare(least: f64) -> bool {
    (least - BARE_MEASURED * BARE_PART).abs() < 1.0
}

fn results(rows: &[Row<'_>]) -> String {
    let mut table = String::from(
        "| measure | figure | measured | floor | ratio | must be | met |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let figure = row.figure;
        let shown = |s: Option<Spread>| s.map_or_else(|| "–".into(), |s| spread(s, figure));
        let ratio = row.ratio.map_or_else(String::new, |r| {
            format!("{:.0} % ({:.0}–{:.0})", r.median * 100.0, r.min * 100.0, r.max * 100.0)
        });
        let floor = figure.floor.map_or_else(String::new, |_| shown(row.floor));
        let met = match row.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let must: Vec<String> = figure.must.iter().map(|m| must(*m, figure)).collect();
        // Writing into text cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {floor} | {ratio} | {} | {met} |",
            row.title,
            figure.label,
            shown(row.value),
            must.join(", ")
        );
    }
    table
}

fn must(must: Must, figure: &Figure) -> String {
    let unit = unit(figure);
    match must {
        Must::AtLeast(least) => format!("≥ {}{unit}", number(least, figure.digits.min(1))),
        Must::AtMost(most) => format!("≤ {}{unit}", number(most, figure.digits.min(2))),
        Must::OfFloor(part) => format!("≥ {:.0} % of the floor", part * 100.0),
    }
}

fn unit(figure: &Figure) -> String {
    match figure.unit {
        "" | "/s" => figure.unit.to_owned(),
        unit => format!(" {unit}"),
    }
}

fn spread(s: Spread, figure: &Figure) -> String {
    let text = |x: f64| number(x, figure.digits);
    let unit = unit(figure);
    if (s.max - s.min).abs() < f64::EPSILON {
        return format!("{}{unit}", text(s.median));
    }
    format!("{}{unit} ({}–{})", text(s.median), text(s.min), text(s.max))
}

/// With commas between thousands.
fn number(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &rest
}

fn failures(sheet: &Sheet) -> String {
    let failed = sheet.failures();
    if failed.is_empty() {
        return String::new();
    }
    let list: Vec<String> = failed.iter().map(|f| format!("```text\n{f}\n```\n")).collect();
    format!("\nThese did not work:\n\n{}", list.concat())
}

fn place(entries: &[Entry], sheet: &Sheet, machine: &[(&'static str, String)], rows: &[Row<'_>]) -> String {
    let mut list = String::new();
    let mut fact = |name: &str, text: &str| {
        // Writing into text cannot fail.
        let _ = writeln!(list, "* {name}: {text}");
    };
    for (name, text) in machine {
        fact(name, text);
    }
    let sample = (0..entries.len()).filter_map(|n| sheet.sample(n));
    let servers = sample.clone().find_map(|line| Some(line.pointer("/versions/servers")?.clone()));
    if let Some(servers) = servers {
        let version = |key: &str| servers[key].as_str().unwrap_or("unknown").to_owned();
        fact("servers", &format!("nats-server {}, redis-server {}", version("nats_server"), version("redis_server")));
    }
    let settings =
        sample.clone().find_map(|line| Some(line["settings"].clone()).filter(|s| s["coordinators"].is_u64()));
    if let Some(settings) = settings {
        fact("settings, unless the command says otherwise", &format!("`{settings}`"));
    }
    let floor =
        sample.clone().find(|line| line["workload"]["name"] == "floor-bare").map(|line| line["settings"].clone());
    if let Some(floor) = floor {
        fact("the plain loop", &format!("`{floor}`"));
    }
    fact("the floor", &format!("`{}`", stepmill_floor::Variant::Product.settings()));
    let busiest = rows.iter().filter_map(|row| row.other_cores).map(|s| s.max).fold(0.0, f64::max);
    fact("other processes", &format!("at most {busiest:.2} cores during any workload"));
    list
}

fn commands(entries: &[Entry]) -> String {
    let mut text = String::from("```sh\n");
    for entry in entries {
        for command in entry.commands() {
            // Writing into text cannot fail.
            let _ = writeln!(text, "stepmill bench {}", command.join(" "));
        }
    }
    text + "```\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan;
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(number(1_234_567.4, 0), "1,234,567");
        assert_eq!(number(-1234.5, 1), "-1,234.5");
        assert_eq!(number(-234.0, 0), "-234");
        assert_eq!(number(0.0814, 3), "0.081");
    }

    #[test]
    fn a_page_says_what_was_reached_and_what_was_not() {
        let entries: Vec<Entry> = plan::entries(true).into_iter().take(2).collect();
        let mut sheet = Sheet::default();
        let line = |rate: f64| Ok(json!({ "steps_per_s": rate, "cpu_s_per_1000_steps": 0.2, "other_cores": 0.25 }));
        sheet.add(0, vec![line(18_000.0)]);
        sheet.add(1, vec![line(20_000.0), line(15_000.0)]);
        let page = write(&entries, &sheet, &[("processor", "two".into())], 1, false);
        assert!(page.contains("so the floor is one"), "{page}");
        assert!(page.contains("| 15,000/s | 20,000/s | 75 % (75–75) | ≥ 60 % of the floor | yes |"), "{page}");
        assert!(page.contains("| ≤ 0.14 s | **no** |"), "{page}");
        assert!(page.contains("at most 0.25 cores"), "{page}");
        assert!(page.contains("stepmill bench floor --runs 200 --steps 10 --profile everysec --json"), "{page}");
    }

    #[test]
    fn a_slow_loop_makes_the_page_void() {
        let entries: Vec<Entry> = plan::entries(true).into_iter().take(1).collect();
        let mut sheet = Sheet::default();
        sheet.add(0, vec![Ok(json!({ "steps_per_s": 16_000.0 }))]);
        assert!(write(&entries, &sheet, &[], 1, false).contains("this page is void"));
    }
}
