//! What stands around a document while it runs: workflows that it starts, and events that it listens for.

use std::time::Instant;

use serde_json::{Value, json};
use stepmill_protocol::api::{RunView, WaitsFor};
use stepmill_protocol::{Client, CloudEvent, Millis, Problem, RunId};

/// How long one look at a run waits.
const LOOK: Millis = Millis(500);

/// What stands around a document.
#[derive(Default)]
pub(super) struct Scene {
    /// Definitions of workflows that it starts.
    pub(super) companions: Vec<&'static str>,
    /// Type, source and data of events, each sent when the run listens.
    pub(super) events: Vec<(&'static str, &'static str, Value)>,
    /// It is over when the run listens again after the last event, since it never ends.
    pub(super) forever: bool,
}

impl Scene {
    /// The scene of an example.
    pub(super) fn of(name: &str) -> Self {
        let hospital = "https://fake-hospital.com";
        let temperature =
            || ("com.fake-hospital.vitals.measurements.temperature", hospital, json!({ "temperature": 39 }));
        let bpm = || ("com.fake-hospital.vitals.measurements.bpm", hospital, json!({ "bpm": 120 }));
        let gossip = || ("com.fake.gossip", "https://fake-chat-api.com", json!({ "roomId": "kitchen" }));
        let sensor = "https://my.home.com/sensor";
        let (companions, events) = match name.strip_suffix(".yaml").unwrap_or(name) {
            "run-subflow" => (vec![REGISTER_CUSTOMER], vec![]),
            "accumulate-room-readings" => (
                vec![],
                vec![
                    ("my.home.sensors.temperature", sensor, json!({ "reading": 21 })),
                    ("my.home.sensors.humidity", sensor, json!({ "reading": 40 })),
                ],
            ),
            "for" => (
                vec![],
                vec![("com.fake.petclinic.pets.checkup.completed.v2", "https://fake.petclinic.com", json!({}))],
            ),
            "listen-to-all" | "listen-to-all read-envelope" => (vec![], vec![bpm(), temperature()]),
            "listen-to-any-filter" => (vec![], vec![bpm()]),
            "listen-to-any" => (vec![], vec![gossip()]),
            "listen-to-any-until-condition" => (vec![], vec![gossip(), gossip(), gossip(), gossip()]),
            "listen-to-any-until-consumed" => {
                let out = ("com.fake-hospital.patient.checked-out", hospital, json!({}));
                (vec![], vec![temperature(), bpm(), out])
            }
            "listen-to-any-forever-foreach" => (vec![], vec![gossip(), gossip()]),
            "listen-to-one" => {
                let started = "com.virtual-wf-powered-race.events.race.started.v1";
                (vec![], vec![(started, "https://virtual-wf-powered-race.com", json!({ "carId": "7" }))])
            }
            _ => (vec![], vec![]),
        };
        Self { companions, events, forever: name.contains("forever") }
    }

    /// Plays it for a run, until nothing is left to do but to wait for the end.
    pub(super) async fn play(&self, client: &Client, run: RunId, until: Instant) -> Result<(), Problem> {
        if self.events.is_empty() && !self.forever {
            return Ok(());
        }
        let mut after = 0;
        for (number, (kind, source, data)) in self.events.iter().enumerate() {
            let Some(view) = listening(client, run, after, until).await? else { return Ok(()) };
            let event = json!({
                "specversion": "1.0", "id": format!("{run}-{number}"), "source": source, "type": kind, "roomid": "1", "data": data,
            });
            let event = CloudEvent::try_from(event).map_err(|e| Problem::own("scene", 500, "Scene", e.to_string()))?;
            client.event(&event).await?;
            after = view.rev;
        }
        if self.forever {
            listening(client, run, after, until).await?;
        }
        Ok(())
    }
}

/// The run when it listens and has moved on from a revision. None: it ended, or the time is over.
async fn listening(client: &Client, run: RunId, after: u64, until: Instant) -> Result<Option<RunView>, Problem> {
    let mut view = client.get_after(run, after, LOOK).await?;
    loop {
        if view.state.is_final() || Instant::now() > until {
            return Ok(None);
        }
        if view.rev > after && view.live.iter().any(|step| step.waits_for == WaitsFor::Event) {
            return Ok(Some(view));
        }
        view = client.get_after(run, view.rev, LOOK).await?;
    }
}

const REGISTER_CUSTOMER: &str = "\
document: { dsl: '1.0.3', namespace: test, name: register-customer, version: '0.1.0' }
do:
  - register: { set: { registered: '${ .customer }' } }
";
