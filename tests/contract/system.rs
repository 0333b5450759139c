//! What a coordinator does by itself, over each set of adapters: runs that start runs, wait for them and end them.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_coordinator::store::embedded::{Embedded, EmbeddedOptions};
use stepmill_coordinator::store::redis::{RedisOptions, RedisStore};
use stepmill_coordinator::{Coordinator, CoordinatorConfig, Ports, Running};
use stepmill_nats::{Nats, NatsApiCaller, NatsOptions, StreamOptions};
use stepmill_protocol::api::{ListRequest, RunState, RunView, SubmitRequest};
use stepmill_protocol::{Client, Namespace, Problem, RunId};
use stepmill_tests::server::{NatsServer, RedisServer};

mod child;
mod event;
mod explosion;
mod life;
mod picky;
mod schedule;

/// Longer than anything takes on a slow machine.
const LONG: Duration = Duration::from_secs(60);

/// One set of adapters with a coordinator on it.
struct System {
    ports: Ports,
    client: Client,
    running: Option<Running>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl System {
    async fn embedded() -> Self {
        let embedded = Embedded::open(EmbeddedOptions::default()).unwrap();
        let ports = Ports {
            store: embedded.store(),
            log: embedded.log(),
            tasks: embedded.tasks(),
            jobs: None,
            archive: embedded.archive(),
            events: embedded.events(),
            life: embedded.life(),
            bus: embedded.bus(),
        };
        let client = Client::new(embedded.api_caller(), Namespace::new("default").unwrap());
        Self::start(ports, client, Box::new(embedded)).await
    }

    async fn servers() -> Self {
        let (nats, redis) = (NatsServer::start().unwrap(), RedisServer::start().unwrap());
        let connect = async |name| Nats::connect(NatsOptions::new(&nats.url(), name)).await.unwrap();
        let store = RedisStore::connect(&redis.url(), RedisOptions::default()).await.unwrap();
        let ports = stepmill_coordinator::queue::nats::ports(
            connect("coordinator").await,
            StreamOptions::default(),
            Arc::new(store),
        );
        let ports = ports.await.unwrap();
        let caller = Arc::new(NatsApiCaller::new(connect("client").await));
        let client = Client::new(caller, Namespace::new("default").unwrap());
        Self::start(ports, client, Box::new((nats, redis))).await
    }

    async fn start(ports: Ports, client: Client, keep: Box<dyn Any + Send + Sync>) -> Self {
        let mut system = Self { ports, client, running: None, _keep: keep };
        system.begin().await;
        system
    }

    /// A coordinator takes everything over.
    async fn begin(&mut self) {
        let config = CoordinatorConfig { partitions: 4, ..CoordinatorConfig::default() };
        let mut running = Coordinator::start(config, self.ports.clone()).await.unwrap();
        running.ready().await;
        self.running = Some(running);
    }

    /// The coordinator is gone from one moment to the next, and another one comes.
    async fn replace(&mut self) {
        drop(self.running.take());
        self.begin().await;
    }

    async fn define(&self, name: &str, text: &str) {
        let head = format!("document: {{ dsl: '1.0.3', namespace: default, name: {name}, version: '1.0.0' }}\n");
        self.client.define(&format!("{head}{text}")).await.unwrap();
    }

    async fn submit(&self, workflow: &str, input: Value) -> RunId {
        let request = SubmitRequest { workflow: workflow.parse().unwrap(), version: None, input, key: None };
        self.client.submit(&request).await.unwrap().run
    }

    async fn result(&self, run: RunId) -> RunView {
        tokio::time::timeout(LONG, self.client.result(run)).await.expect("the run ends in time").unwrap()
    }

    async fn output(&self, workflow: &str, input: Value) -> Value {
        let view = self.result(self.submit(workflow, input).await).await;
        assert_eq!(view.state, RunState::Completed, "{view:?}");
        view.output.unwrap()
    }

    async fn error(&self, workflow: &str) -> Problem {
        let view = self.result(self.submit(workflow, json!({})).await).await;
        assert_eq!(view.state, RunState::Faulted, "{view:?}");
        view.error.unwrap()
    }

    async fn runs_of(&self, workflow: &str) -> Vec<RunView> {
        let request =
            ListRequest { workflow: Some(workflow.parse().unwrap()), limit: Some(500), ..ListRequest::default() };
        self.client.list(&request).await.unwrap().runs
    }

    /// Looks at the runs of a workflow until it is so.
    async fn until_runs(&self, workflow: &str, is_so: impl Fn(&[RunView]) -> bool) -> Vec<RunView> {
        let deadline = Instant::now() + LONG;
        loop {
            let runs = self.runs_of(workflow).await;
            if is_so(&runs) {
                return runs;
            }
            assert!(Instant::now() < deadline, "it has not come to pass: {runs:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs every case on a system of its own.
async fn all<F: AsyncFn() -> System>(make: F) {
    macro_rules! cases {
        ($($module:ident: $($case:ident)*;)*) => {$($(
            println!("case {}-{}", stringify!($module), stringify!($case));
            $module::$case(make().await).await;
        )*)*};
    }
    cases! {
        child: its_output_flows_on its_failure_can_be_caught an_unknown_workflow_is_said a_cancel_goes_down_the_tree
            a_timeout_ends_it one_that_nobody_waits_for_goes_on many_at_once_are_gathered
            a_coordinator_that_is_replaced_goes_on one_that_is_not_wanted_never_begins
            one_that_starts_itself_comes_to_an_end;
        life: what_is_heard_can_be_asked_for_later what_was_not_told_is_told_by_the_next_owner;
        explosion: each_kind_fails_its_own_step it_fails_wherever_it_stands a_filter_that_explodes_fails_its_listen
            a_loop_over_one_makes_way;
        schedule: runs_start_again_and_again a_newer_version_replaces_it one_start_catches_up one_run_after_the_other
            a_name_of_the_systems_own_is_refused a_newer_version_ends_no_run
            one_that_another_product_version_wrote_goes_on;
        event: what_is_emitted_is_heard each_event_starts_a_run each_set_of_events_starts_a_run;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_adapters_do_what_is_asked() {
    all(System::embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_do_what_is_asked() {
    all(System::servers).await;
}
