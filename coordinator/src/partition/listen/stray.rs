//! What lies among the events and is none. It goes to the dead letters, so that whoever published it finds out why; in the background,
//! since nobody was promised anything and no run may wait for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::problem::Standard;
use stepmill_protocol::{DeadLetter, Problem, RunId};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::port::event::{EventMessage, EventPlace};
use crate::port::queue::Archive;

/// Letters on their way; what comes while there are so many is only told in the log of this process.
const LETTERS_MAX: usize = 256;
/// Strays that are remembered: events are read again when a run begins to listen for older ones.
const REMEMBERED_MAX: usize = 4_096;
/// Waits between tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Puts strays aside.
#[derive(Default)]
pub(super) struct Strays {
    told: BTreeSet<EventPlace>,
    post: Option<Post>,
}

struct Post {
    letters: mpsc::Sender<DeadLetter>,
    _task: AbortOnDropHandle<()>,
}

impl Strays {
    /// Puts a message aside once, for this reason.
    pub(super) fn put_aside(&mut self, archive: &Arc<dyn Archive>, message: &EventMessage, reason: &str) {
        if !self.told.insert(message.place()) {
            return;
        }
        if self.told.len() > REMEMBERED_MAX {
            self.told.pop_first();
        }
        tracing::error!(seq = message.seq, reason, "a message among the events is none; it goes to the dead letters");
        let mut problem = Problem::standard(Standard::Validation, reason);
        problem.extra = Some(serde_json::json!({ "event": message.seq, "stored_at": message.at }));
        let run = RunId(uuid::Uuid::nil());
        let letter = DeadLetter { pool: None, run, problem, task: None, record: None, deliveries: 1 };
        let post = self.post.get_or_insert_with(|| Post::open(archive.clone()));
        if post.letters.try_send(letter).is_err() {
            tracing::warn!(seq = message.seq, "too many dead letters are on their way; this one is not stored");
        }
    }
}

impl Post {
    fn open(archive: Arc<dyn Archive>) -> Self {
        let (letters, mut inbox) = mpsc::channel(LETTERS_MAX);
        let task = tokio::spawn(async move {
            while let Some(letter) = inbox.recv().await {
                bury(archive.as_ref(), &letter).await;
            }
        });
        Self { letters, _task: AbortOnDropHandle::new(task) }
    }
}

/// Tries until it is stored or cannot be.
async fn bury(archive: &dyn Archive, letter: &DeadLetter) {
    let mut wait = FIRST_WAIT;
    while let Err(error) = archive.bury(letter).await {
        if !error.retryable {
            tracing::error!(%error, "a dead letter cannot be stored");
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
