//! When branches side by side are done: `fork.compete`, `metadata.join` and `metadata.onFailure`.

use stepmill_protocol::limit::TOKENS_MAX;

use super::Compiler;
use crate::plan::Join;
use crate::tree::{Kind, Tree};

/// What `metadata` says.
#[derive(Default)]
struct Given<'t> {
    join: Option<&'t Tree>,
    on_failure: Option<&'t Tree>,
}

impl<'t> Given<'t> {
    fn read(metadata: Option<&'t Tree>) -> Self {
        metadata.map_or_else(Self::default, |m| Self { join: m.get("join"), on_failure: m.get("onFailure") })
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &'t Tree)> {
        let join = self.join.map(|t| ("join", t));
        join.into_iter().chain(self.on_failure.map(|t| ("onFailure", t)))
    }
}

impl Compiler<'_, '_> {
    pub(super) fn join_of_fork(&self, metadata: Option<&Tree>, compete: bool, branches: usize) -> Option<Join> {
        let given = Given::read(metadata);
        if compete {
            for (key, tree) in given.each() {
                let help = "remove it: of competing branches the first that ends counts; or remove `compete`";
                self.reader.error("join", tree.span, &tree.at, format!("`{key}` contradicts `compete: true`"), help);
            }
            return given.each().next().is_none().then_some(Join::First);
        }
        let join = self.join(&given)?;
        if let (Join::Count(n), Some(tree)) = (join, given.join)
            && n as usize > branches
        {
            let message = format!("`join` waits for {n} branches, there are {branches}");
            self.reader.error("join", tree.span, &tree.at, message, "lower `count`, or write `all`");
            return None;
        }
        Some(join)
    }

    pub(super) fn join_of_for(&self, metadata: Option<&Tree>, concurrency: Option<u32>) -> Option<Join> {
        let given = Given::read(metadata);
        if concurrency.is_none() {
            for (key, tree) in given.each() {
                let message = format!("`{key}` has no effect on a `for` that runs one iteration after the other");
                self.reader.warn("no-effect", tree.span, &tree.at, message, "add `concurrency`, or remove it");
            }
            return Some(Join::All);
        }
        self.join(&given)
    }

    fn join(&self, given: &Given<'_>) -> Option<Join> {
        let join = given.join.map_or(Some(Join::All), |t| self.join_word(t));
        let settles = given.on_failure.map_or(Some(false), |t| self.on_failure(t));
        match (join?, settles?) {
            (join, false) => Some(join),
            (Join::All, true) => Some(Join::Settled),
            (_, true) => {
                let tree = given.on_failure?;
                let message = "`onFailure: continue` is for a join that waits for all";
                let help = "remove it: the other joins let branches fail as long as enough of them can still succeed";
                self.reader.error("join", tree.span, &tree.at, message, help);
                None
            }
        }
    }

    fn join_word(&self, tree: &Tree) -> Option<Join> {
        let help = "write `all`, `any`, `first` or `count: 2`";
        match &tree.kind {
            Kind::Text(word) => match &**word {
                "all" => Some(Join::All),
                "any" => Some(Join::Any),
                "first" => Some(Join::First),
                other => {
                    let message = format!("`join` cannot be `{other}`");
                    self.reader.error("wrong-value", tree.span, &tree.at, message, help);
                    None
                }
            },
            Kind::Map(_) => {
                let mut fields = self.reader.object(tree, "`join`")?;
                let count = fields.need("count").and_then(|t| Some((t, self.reader.integer(t, "`count`")?)));
                fields.finish(self.reader);
                let (at, n) = count?;
                let found = u32::try_from(n).ok().filter(|n| (1..=TOKENS_MAX).contains(&(*n as usize)));
                if found.is_none() {
                    let message = format!("`count` must be from 1 to {TOKENS_MAX}, not {n}");
                    self.reader.error("wrong-value", at.span, &at.at, message, "write how many must succeed");
                }
                found.map(Join::Count)
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
                let message = format!("`join` must be a word or an object, not {}", tree.noun());
                self.reader.error("wrong-type", tree.span, &tree.at, message, help);
                None
            }
        }
    }

    /// Whether failures are kept instead of failing the task.
    fn on_failure(&self, tree: &Tree) -> Option<bool> {
        let text = self.reader.text(tree, "`onFailure`")?;
        match &*text.text {
            "fail" => Some(false),
            "continue" => Some(true),
            other => {
                let message = format!("`onFailure` cannot be `{other}`");
                self.reader.error("wrong-value", tree.span, &tree.at, message, "write `fail` or `continue`");
                None
            }
        }
    }
}
