//! One inbox subscription for all answers: gives out unique reply subjects and hands each answer to whoever waits for
//! it. Everything that is confirmed goes through here (publishing, acks, questions), so that a broken connection is
//! noticed by all waiters at once instead of by a timeout each.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::NatsError;

#[derive(Debug)]
struct Waiters {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Message>>,
}

/// The waiting room. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mux {
    prefix: Arc<str>,
    waiters: Arc<Mutex<Waiters>>,
}

/// A place in the waiting room; given up on drop.
#[derive(Debug)]
pub(crate) struct Ticket {
    token: u64,
    answer: oneshot::Receiver<Message>,
    waiters: Arc<Mutex<Waiters>>,
}

impl Mux {
    /// Subscribes the inbox; the returned future routes answers until the connection is closed for good.
    pub(crate) async fn open(client: &Client) -> Result<(Self, impl Future<Output = ()> + Send + use<>), NatsError> {
        let prefix = client.new_inbox();
        let inbox = client.subscribe(format!("{prefix}.*")).await.map_err(|e| NatsError::Refused {
            what: "the inbox subscription".into(),
            code: 0,
            text: e.to_string(),
            retryable: true,
        })?;
        let waiters = Arc::new(Mutex::new(Waiters { next: 1, waiting: HashMap::new() }));
        let mux = Self { prefix: format!("{prefix}.").into(), waiters };
        let route = mux.clone().route(inbox);
        Ok((mux, route))
    }

    /// A new reply subject and the place to wait for what comes to it.
    pub(crate) fn ticket(&self) -> (String, Ticket) {
        let (sender, answer) = oneshot::channel();
        let token = {
            let mut waiters = self.waiters.lock();
            let token = waiters.next;
            waiters.next += 1;
            waiters.waiting.insert(token, sender);
            token
        };
        (format!("{}{token}", self.prefix), Ticket { token, answer, waiters: Arc::clone(&self.waiters) })
    }

    /// Gives an answer to who waits for it under this subject of ours. The answer comes back when the subject is not ours.
    pub(crate) fn answer(&self, subject: &str, payload: Bytes) -> Option<Bytes> {
        let Some(token) = subject.strip_prefix(&*self.prefix) else { return Some(payload) };
        let sender = token.parse().ok().and_then(|token: u64| self.waiters.lock().waiting.remove(&token));
        if let Some(sender) = sender {
            let (subject, length) = (subject.to_owned().into(), payload.len());
            let message =
                Message { subject, reply: None, payload, headers: None, status: None, description: None, length };
            // Nobody there any more: the waiter gave up in this very moment.
            let _ = sender.send(message);
        }
        None
    }

    /// Lets everybody who waits know that his answer may never come.
    pub(crate) fn fail_all(&self) {
        // The senders are dropped outside of the lock: a waiter that wakes up takes it again.
        let lost = std::mem::take(&mut self.waiters.lock().waiting);
        drop(lost);
    }

    async fn route(self, mut inbox: Subscriber) {
        while let Some(message) = inbox.next().await {
            let token = message.subject.strip_prefix(&*self.prefix).and_then(|t| t.parse::<u64>().ok());
            let sender = token.and_then(|t| self.waiters.lock().waiting.remove(&t));
            if let Some(sender) = sender {
                // Nobody there any more: the waiter gave up in this very moment.
                let _ = sender.send(message);
            }
        }
        self.fail_all();
    }
}

impl Future for Ticket {
    /// None: the connection broke.
    type Output = Option<Message>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(Result::ok)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiters.lock().waiting.remove(&self.token);
    }
}
