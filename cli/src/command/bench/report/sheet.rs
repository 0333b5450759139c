//! What was measured, round by round, and what comes out of it: medians, ranges, ratios to the floor of the same round.

use serde_json::{Value, json};

use super::plan::{Entry, Figure, FloorFigure, Must};

/// The lines of one entry in one round: the floors', then the workload's.
type Round = Vec<Result<Value, String>>;

/// All lines, in the order in which they came, with the number of the entry.
#[derive(Debug, Default)]
pub(super) struct Sheet(Vec<(usize, Round)>);

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// A row of the page.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) title: &'static str,
    pub(super) figure: &'a Figure,
    pub(super) value: Option<Spread>,
    pub(super) floor: Option<Spread>,
    /// The workload in parts of the floor of the same round; of times, the floor in parts of the workload.
    pub(super) ratio: Option<Spread>,
    pub(super) other_cores: Option<Spread>,
}

impl Sheet {
    pub(super) fn add(&mut self, entry: usize, lines: Round) {
        self.0.push((entry, lines));
    }

    /// What did not work, once each.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.0.iter().flat_map(|(_, lines)| lines).filter_map(|line| line.as_ref().err().cloned()).collect();
        all.dedup();
        all
    }

    fn of(&self, entry: usize) -> impl Iterator<Item = &Round> {
        self.0.iter().filter(move |(number, _)| *number == entry).map(|(_, lines)| lines)
    }

    /// The first line of a workload that worked: for versions and settings.
    pub(super) fn sample(&self, entry: usize) -> Option<&Value> {
        self.of(entry).find_map(|lines| lines.last()?.as_ref().ok())
    }
}

/// One row for each figure of each entry.
pub(super) fn rows<'a>(entries: &'a [Entry], sheet: &Sheet) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        for figure in &entry.figures {
            rows.push(row(number, entry, figure, sheet));
        }
    }
    rows
}

fn row<'a>(number: usize, entry: &Entry, figure: &'a Figure, sheet: &Sheet) -> Row<'a> {
    let (mut values, mut floors, mut ratios, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for lines in sheet.of(number) {
        let value = lines.last().and_then(|line| number_at(line, figure.place));
        let floor = figure.floor.and_then(|floor| floor_value(lines, floor));
        values.extend(value);
        floors.extend(floor);
        if let (Some(value), Some(floor), Some(by)) = (value, floor, figure.floor) {
            ratios.push(if by.is_time { floor / value } else { value / floor });
        }
        others.extend(lines.iter().filter_map(|line| number_at(line, "/other_cores")));
    }
    Row {
        title: entry.title,
        figure,
        value: Spread::of(values),
        floor: Spread::of(floors),
        ratio: Spread::of(ratios),
        other_cores: Spread::of(others),
    }
}

fn number_at(line: &Result<Value, String>, place: &str) -> Option<f64> {
    line.as_ref().ok()?.pointer(place)?.as_f64()
}

fn floor_value(lines: &Round, floor: FloorFigure) -> Option<f64> {
    Some(number_at(lines.get(floor.index)?, floor.place)? * floor.times)
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (values.first().copied()?, values.last().copied()?);
        let middle = values.len() / 2;
        let upper = values.get(middle).copied()?;
        let lower = if values.len().is_multiple_of(2) { values.get(middle - 1).copied()? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

impl Row<'_> {
    /// Whether the median is what it must be; nothing where nothing was measured or nothing is asked for.
    pub(super) fn is_met(&self) -> Option<bool> {
        let value = self.value?.median;
        let met = |must: &Must| match *must {
            Must::AtLeast(least) => Some(value >= least),
            Must::AtMost(most) => Some(value <= most),
            Must::OfFloor(part) => Some(self.ratio?.median >= part),
        };
        let met: Option<Vec<bool>> = self.figure.must.iter().map(met).collect();
        met.filter(|all| !all.is_empty()).map(|all| all.into_iter().all(|one| one))
    }

    pub(super) fn as_json(&self) -> Value {
        let spread = |s: Option<Spread>| s.map(|s| json!({ "median": s.median, "min": s.min, "max": s.max }));
        json!({
            "measure": self.title, "figure": self.figure.label, "unit": self.figure.unit, "value": spread(self.value),
            "floor": spread(self.floor), "ratio": spread(self.ratio), "met": self.is_met(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 10.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let entries: Vec<Entry> = plan::entries(true).into_iter().filter(|e| e.name() == "chain").take(1).collect();
        let line = |rate: f64| Ok(json!({ "steps_per_s": rate, "cpu_s_per_1000_steps": 0.1 }));
        let mut sheet = Sheet::default();
        sheet.add(0, vec![line(100.0), line(50.0)]);
        sheet.add(0, vec![line(1000.0), line(900.0)]);
        sheet.add(0, vec![line(200.0), line(140.0)]);
        let rows = rows(&entries, &sheet);
        assert_eq!(rows[0].ratio.unwrap(), Spread { median: 0.7, min: 0.5, max: 0.9 });
        assert_eq!(rows[0].is_met(), Some(true));
        assert_eq!(rows[1].is_met(), Some(true), "the CPU");
    }

    #[test]
    fn what_failed_is_named_and_not_met() {
        let entries: Vec<Entry> = plan::entries(true).into_iter().take(1).collect();
        let mut sheet = Sheet::default();
        sheet.add(0, vec![Err("no server".into())]);
        sheet.add(0, vec![Err("no server".into())]);
        assert_eq!(sheet.failures(), ["no server"]);
        assert_eq!(rows(&entries, &sheet)[0].is_met(), None);
    }
}
