//! `schedule`.

use stepmill_protocol::Millis;
use stepmill_protocol::limit::{NAME_BYTES_MAX, SCHEDULE_PAUSE_MIN};

use super::event::{Consumption, read_as};
use super::reader::{Reader, Text};
use crate::plan::{ReadAs, Schedule};
use crate::schedule::SUFFIX;
use crate::tree::Tree;
use crate::{cron, duration};

/// The keys that say when.
const KINDS: [&str; 4] = ["every", "cron", "after", "on"];

/// `schedule`.
pub(crate) struct Scheduled<'t> {
    /// None where a mistake was noted.
    pub(crate) when: Option<Schedule>,
    /// The events of `on`.
    pub(crate) events: Option<Consumption<'t>>,
}

impl<'t> Scheduled<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree, name: Option<&Text>) -> Option<Self> {
        let mut fields = reader.object(tree, "`schedule`")?;
        let given: Vec<_> = KINDS.iter().filter_map(|kind| Some((*kind, fields.take(kind)?))).collect();
        let read = fields.take("read");
        fields.finish(reader);
        if let Some(name) = name.filter(|name| name.text.len() + SUFFIX.len() > NAME_BYTES_MAX) {
            let max = NAME_BYTES_MAX - SUFFIX.len();
            let message = format!("the name of a workflow with a schedule has at most {max} characters");
            reader.error("name", name.span, &name.at, message, "shorten it");
        }
        if let Some(read) = read.filter(|_| tree.get("on").is_none()) {
            let help = "remove it, or add `on:` with the events that start the workflow";
            reader.error("missing-key", read.span, &read.at, "`read` of a schedule needs `on`", help);
        }
        let mut events = None;
        let when = match given.as_slice() {
            [("cron", pattern)] => pattern_of(reader, pattern),
            [("on", on)] => {
                let read = read.map_or(Some(ReadAs::Data), |t| read_as(reader, t));
                events = Consumption::read(reader, on, read.unwrap_or(ReadAs::Data), true);
                read.map(|read| Schedule::On { events: on.to_json(), read })
            }
            [(kind, pause)] => {
                let pause = length(reader, pause);
                pause.map(|pause| if *kind == "every" { Schedule::Every(pause) } else { Schedule::After(pause) })
            }
            [] => {
                let help = format!("give it one of {}", KINDS.join(", "));
                reader.error("no-kind", tree.span, &tree.at, "`schedule` does not say when", help);
                None
            }
            [first, second, ..] => {
                let message = format!("`schedule` has both `{}` and `{}`", first.0, second.0);
                reader.error("two-in-one", second.1.span, &second.1.at, message, "keep one of them");
                None
            }
        };
        Some(Self { when, events })
    }
}

fn pattern_of(reader: &Reader<'_>, tree: &Tree) -> Option<Schedule> {
    let text = reader.text(tree, "`cron`")?;
    let wrong = cron::check(&text.text).err();
    if let Some(wrong) = &wrong {
        let help = "write minute, hour, day, month and day of the week, for instance `0 6 * * MON`";
        reader.error("cron", text.span, &text.at, wrong.clone(), help);
    }
    wrong.is_none().then(|| Schedule::Cron(text.text.to_string()))
}

fn length(reader: &Reader<'_>, tree: &Tree) -> Option<Millis> {
    let wrong = match duration::from_value(&tree.to_json()) {
        Ok(pause) if pause >= SCHEDULE_PAUSE_MIN => return Some(pause),
        Ok(pause) => {
            let (given, min) = (pause.0, SCHEDULE_PAUSE_MIN.0);
            format!("{given} ms between two runs are less than {min} ms, the least allowed (SCHEDULE_PAUSE_MIN)")
        }
        Err(wrong) => wrong,
    };
    let help = "write ISO 8601 text such as `PT30S`, or an object such as `seconds: 30`";
    reader.error("duration", tree.span, &tree.at, wrong, help);
    None
}
