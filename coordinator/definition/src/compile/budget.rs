//! `metadata.budget`: what a task or the whole run may spend. Its form is checked here; `check` counts with it.

use super::Compiler;
use crate::near::nearest;
use crate::tree::{Kind, Tree};

/// What a budget can limit.
const KEYS: [&str; 4] = ["turns", "toolCalls", "tokens", "money"];

impl Compiler<'_, '_> {
    /// Checks the form of a budget.
    pub(super) fn budget(&self, tree: &Tree) -> bool {
        let Kind::Map(entries) = &tree.kind else {
            let message = format!("`budget` must be an object, not {}", tree.noun());
            self.reader.error("wrong-type", tree.span, &tree.at, message, "write for instance `budget: { money: 1 }`");
            return false;
        };
        let mut fine = true;
        for entry in entries {
            let value = &entry.value;
            let number = match &value.kind {
                Kind::Number(n) => n.as_f64(),
                Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
            };
            let wanted = match &*entry.key {
                "money" if number.is_none_or(|n| n < 0.0) => "an amount of at least 0",
                "turns" | "toolCalls" | "tokens" if number.is_none_or(|n| n < 1.0 || n.fract() != 0.0) => {
                    "a whole number of at least 1"
                }
                "money" | "turns" | "toolCalls" | "tokens" => continue,
                other => {
                    let help = match nearest(other, KEYS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("remove it; known here: {}", KEYS.join(", ")),
                    };
                    let message = format!("`budget` has no key `{other}`");
                    self.reader.error("unknown-key", entry.key_span, &value.at, message, help);
                    fine = false;
                    continue;
                }
            };
            let message = format!("`{}` must be {wanted}", entry.key);
            self.reader.error("wrong-value", value.span, &value.at, message, format!("write {wanted}"));
            fine = false;
        }
        fine
    }
}
