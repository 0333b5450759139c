//! `schedule.on`: the same events as in a `listen`, checked here so that mistakes are seen where they stand.

use super::Compiler;
use crate::model::event::Consumption as Model;
use crate::plan::Until;

impl<'a, 't> Compiler<'a, 't> {
    /// Notes what is wrong with the events that start the workflow.
    pub(super) fn check_starts(&mut self, model: &'a Model<'t>) {
        let Some(events) = self.consumption(model) else { return };
        let wrong = if events.is_empty() {
            "`all` of no events would start runs without end"
        } else if matches!(events.until, Some(Until::Never)) {
            "events that are never enough start no run"
        } else {
            return;
        };
        let help = "name the events that start one run, for instance `one: { with: { type: … } }`";
        self.reader.error("schedule", model.tree.span, &model.tree.at, wrong, help);
    }
}
