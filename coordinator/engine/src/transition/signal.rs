//! A value from outside: kept until the run asks for it.

use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::api::Folded;
use stepmill_protocol::{Problem, limit};

use crate::advance::ignored;
use crate::bin::Bin;
use crate::run::Signal;
use crate::walk::Walk;

/// A signal to a run that is on its way.
pub(crate) fn fold(walk: &mut Walk<'_>, id: [u8; 16], name: &str, data: &Value) -> Folded {
    let id = Bin(id);
    if walk.live.signals.iter().any(|s| s.id == id) {
        return ignored("the signal was received before");
    }
    let refused =
        |status, detail: String| Folded::Refused(Problem::own("signal-refused", status, "Signal refused", detail));
    if name.is_empty() || name.len() > limit::NAME_BYTES_MAX {
        let max = limit::NAME_BYTES_MAX;
        return refused(400, format!("a signal's name has 1 to {max} bytes (NAME_BYTES_MAX)"));
    }
    if walk.live.signals.len() >= limit::SIGNALS_BUFFERED_MAX {
        let max = limit::SIGNALS_BUFFERED_MAX;
        return refused(429, format!("{max} signals wait already (SIGNALS_BUFFERED_MAX); send it again later"));
    }
    match walk.values.make(Arc::new(data.clone())) {
        Ok(data) => {
            walk.live.signals.push(Signal { id, name: name.to_owned(), data });
            Folded::Applied
        }
        Err(e) => refused(413, format!("the signal's data cannot be taken: {e}")),
    }
}
