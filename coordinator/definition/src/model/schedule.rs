//! `schedule`.

use stepmill_protocol::Millis;
use stepmill_protocol::limit::{NAME_BYTES_MAX, SCHEDULE_PAUSE_MIN};

use super::reader::{Reader, Text};
use crate::plan::Schedule;
use crate::schedule::SUFFIX;
use crate::tree::Tree;
use crate::{cron, duration};

/// The keys that say when.
const KINDS: [&str; 3] = ["every", "cron", "after"];

/// Reads `schedule`.
pub(crate) fn read(reader: &Reader<'_>, tree: &Tree, name: Option<&Text>) -> Option<Schedule> {
    let mut fields = reader.object(tree, "`schedule`")?;
    fields.refuse("on", "`schedule.on`", reader);
    fields.refuse("read", "`schedule.read`", reader);
    let given: Vec<_> = KINDS.iter().filter_map(|kind| Some((*kind, fields.take(kind)?))).collect();
    let is_other = ["on", "read"].iter().any(|key| tree.get(key).is_some());
    fields.finish(reader);
    if let Some(name) = name.filter(|name| name.text.len() + SUFFIX.len() > NAME_BYTES_MAX) {
        let max = NAME_BYTES_MAX - SUFFIX.len();
        let message = format!("the name of a workflow with a schedule has at most {max} characters");
        reader.error("name", name.span, &name.at, message, "shorten it");
    }
    match given.as_slice() {
        [("cron", pattern)] => {
            let text = reader.text(pattern, "`cron`")?;
            let wrong = cron::check(&text.text).err();
            if let Some(wrong) = &wrong {
                let help = "write minute, hour, day, month and day of the week, for instance `0 6 * * MON`";
                reader.error("cron", text.span, &text.at, wrong.clone(), help);
            }
            wrong.is_none().then(|| Schedule::Cron(text.text.to_string()))
        }
        [(kind, pause)] => {
            let pause = length(reader, pause)?;
            Some(if *kind == "every" { Schedule::Every(pause) } else { Schedule::After(pause) })
        }
        [] => {
            if !is_other {
                let help = format!("give it one of {}", KINDS.join(", "));
                reader.error("no-kind", tree.span, &tree.at, "`schedule` does not say when", help);
            }
            None
        }
        [first, second, ..] => {
            let message = format!("`schedule` has both `{}` and `{}`", first.0, second.0);
            reader.error("two-in-one", second.1.span, &second.1.at, message, "keep one of them");
            None
        }
    }
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
