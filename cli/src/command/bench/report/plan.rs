//! What the report runs: workloads, the floor beside each, and what each figure must be.

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Must {
    AtLeast(f64),
    AtMost(f64),
    /// This part of the floor of the same round.
    OfFloor(f64),
}

/// A figure of a workload, read from its line.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) label: &'static str,
    pub(super) unit: &'static str,
    pub(super) place: &'static str,
    /// Digits behind the point.
    pub(super) digits: usize,
    pub(super) must: Vec<Must>,
    pub(super) floor: Option<FloorFigure>,
}

/// The same figure of the floor.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloorFigure {
    /// Which of the entry's floors.
    pub(super) index: usize,
    pub(super) place: &'static str,
    /// Makes it comparable: steps of a run where the floor gives a time per step.
    pub(super) times: f64,
    /// A time: less is better.
    pub(super) is_time: bool,
}

/// One workload with its floors.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) title: &'static str,
    pub(super) args: Vec<String>,
    pub(super) floors: Vec<Vec<String>>,
    pub(super) figures: Vec<Figure>,
}

/// Steps per second that the raw loop was measured with on this kind of machine, and the part of it that `floor-bare` must reach.
pub(super) const BARE_MEASURED: f64 = 19_900.0;
pub(super) const BARE_PART: f64 = 0.85;

impl Entry {
    pub(super) fn name(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// All commands: the floors, then the workload.
    pub(super) fn commands(&self) -> Vec<Vec<String>> {
        self.floors.iter().chain([&self.args]).cloned().collect()
    }
}

/// Sizes of the loads.
struct Sizes {
    chain_runs: &'static str,
    latency_runs: &'static str,
    fanout_runs: &'static str,
    payload_runs: &'static str,
    payload_batch: &'static str,
    submissions: &'static str,
    waiting: &'static str,
    kills: &'static str,
    seconds: &'static str,
    stored: &'static str,
    long: &'static str,
    iterations: &'static str,
    items: &'static str,
}

const FULL: Sizes = Sizes {
    chain_runs: "5000",
    latency_runs: "300",
    fanout_runs: "10",
    payload_runs: "50",
    payload_batch: "200",
    submissions: "50000",
    waiting: "100000",
    kills: "3",
    seconds: "8",
    stored: "1000,1000000",
    long: "100000",
    iterations: "1000000",
    items: "10000",
};

const QUICK: Sizes = Sizes {
    chain_runs: "200",
    latency_runs: "30",
    fanout_runs: "3",
    payload_runs: "5",
    payload_batch: "40",
    submissions: "2000",
    waiting: "2000",
    kills: "1",
    seconds: "1",
    stored: "100,2000",
    long: "4000",
    iterations: "100000",
    items: "1000",
};

/// Everything, in the order in which it is run.
pub(super) fn entries(quick: bool) -> Vec<Entry> {
    let s = if quick { &QUICK } else { &FULL };
    let mut all = throughput(s);
    all.extend(times(s));
    all.extend(others(s));
    all
}

fn throughput(s: &Sizes) -> Vec<Entry> {
    let chain = |title, profile| {
        let size = ["--runs", s.chain_runs, "--steps", "10", "--profile", profile];
        entry(title, &["chain"], &size)
            .beside(&["floor"], &size)
            .figure(figure("steps per second", "/s", "/steps_per_s", 0).must(Must::OfFloor(0.6)).floor(
                0,
                "/steps_per_s",
                1.0,
            ))
            .figure(figure("CPU per 1,000 steps", "s", "/cpu_s_per_1000_steps", 3).must(Must::AtMost(0.14)).floor_time(
                0,
                "/cpu_s_per_1000_steps",
                1.0,
            ))
    };
    vec![
        entry("The loop itself, plain streams", &["floor-bare"], &["--runs", s.chain_runs, "--steps", "10"])
            .figure(figure("steps per second", "/s", "/steps_per_s", 0).must(Must::AtLeast(BARE_MEASURED * BARE_PART))),
        chain("Chains of 10 no-op steps, Redis everysec", "everysec"),
        chain("Chains of 10 no-op steps, Redis always", "always"),
        entry("Chains of 10, embedded, synced", &["chain"], &["--runs", s.chain_runs, "--steps", "10", "--embedded"])
            .figure(figure("steps per second", "/s", "/steps_per_s", 0).must(Must::AtLeast(10_000.0))),
    ]
}

fn times(s: &Sizes) -> Vec<Entry> {
    let latency = |title, profile, p50, p99| {
        let size = ["--runs", s.latency_runs, "--steps", "10", "--profile", profile];
        entry(title, &["latency"], &size)
            .beside(&["floor", "--in-flight", "1"], &size)
            .figure(figure("per step, p50", "ms", "/p50_ms", 3).must(Must::AtMost(p50)).floor_time(0, "/p50_ms", 1.0))
            .figure(figure("per step, p99", "ms", "/p99_ms", 3).must(Must::AtMost(p99)).floor_time(0, "/p99_ms", 1.0))
    };
    let document = ["--steps", "10", "--payload", "102400"];
    vec![
        latency("One run at a time, Redis everysec", "everysec", 1.1, 6.0),
        latency("One run at a time, Redis always", "always", 1.6, 8.0),
        entry("1,000 parallel steps and a join", &["fanout"], &["--width", "1000", "--runs", s.fanout_runs])
            .beside(&["floor"], &["--runs", "1000", "--steps", "1", "--in-flight", "1000"])
            .figure(
                figure("whole run, p50", "ms", "/p50_ms", 1).must(Must::AtMost(180.0)).floor_time(0, "/wall_s", 1000.0),
            ),
        entry("40 sequential fibonacci(10)", &["fibonacci"], &["--steps", "40", "--runs", s.payload_runs])
            .beside(&["floor"], &["--runs", s.payload_runs, "--steps", "40", "--in-flight", "1"])
            .figure(
                figure("whole run, p50", "ms", "/p50_ms", 1).must(Must::AtMost(45.0)).floor_time(0, "/p50_ms", 40.0),
            ),
        entry("100 KiB through 10 steps", &["payload"], &["--runs", s.payload_runs, "--batch", s.payload_batch])
            .beside(&["floor", "--runs", s.payload_runs, "--in-flight", "1"], &document)
            .beside(&["floor", "--runs", s.payload_batch, "--in-flight", "32"], &document)
            .figure(figure("one run, p50", "ms", "/p50_ms", 1).must(Must::AtMost(19.0)).floor_time(0, "/p50_ms", 10.0))
            .figure(figure("batch", "MB/s", "/mb_per_s", 1).must(Must::AtLeast(80.0)).floor(1, "/mb_per_s", 1.0)),
    ]
}

fn others(s: &Sizes) -> Vec<Entry> {
    let kill = |label, place| figure(label, "s", place, 2).must(Must::AtMost(3.0));
    let part = |label, place| figure(label, "", place, 2).must(Must::AtLeast(0.9));
    vec![
        entry("Submissions accepted, request and reply", &["submit"], &["--runs", s.submissions])
            .figure(figure("submissions per second", "/s", "/submissions_per_s", 0).must(Must::AtLeast(10_000.0))),
        entry("Runs of 8 steps that wait", &["waiting"], &["--runs", s.waiting, "--steps", "8"])
            .figure(figure("coordinator", "MB", "/coordinator_mb", 0).must(Must::AtMost(300.0)))
            .figure(figure("Redis per run", "bytes", "/redis_bytes_per_run", 0).must(Must::AtMost(1200.0))),
        entry("Start of `stepmill dev` to the end of the first run", &["start"], &["--rounds", "5"])
            .figure(figure("p50", "ms", "/p50_ms", 0).must(Must::AtMost(1000.0))),
        entry("kill -9 with 200 runs of 10 steps of 50 ms", &["kill"], &["--rounds", s.kills])
            .figure(kill("worker: beyond undisturbed", "/worker_beyond_s/median"))
            .figure(kill("coordinator: beyond undisturbed", "/coordinator_beyond_s/median")),
        entry(
            "Steps that sleep 50 ms, 8 slots per worker",
            &["scale"],
            &["--workers", "1,2,4,8", "--seconds", s.seconds],
        )
        .figure(part("8 workers against 8 times one", "/sizes/3/efficiency")),
        entry("Cost per step with depth", &["depth"], &["--stored", s.stored, "--long", s.long])
            .figure(part("many runs stored against few", "/stored/1/against_first"))
            .figure(part("end of a long run against its beginning", "/long/late_against_early")),
        entry(
            "Cost per step with the length of a loop",
            &["loops"],
            &["--iterations", s.iterations, "--items", s.items],
        )
        .figure(part("a loop that computes: end against beginning", "/iterations/late_against_early"))
        .figure(part("a step for each item, 100 at a time: end against beginning", "/items/late_against_early")),
    ]
}

fn entry(title: &'static str, name: &[&str], args: &[&str]) -> Entry {
    Entry { title, args: words(name, args), floors: Vec::new(), figures: Vec::new() }
}

fn words(name: &[&str], args: &[&str]) -> Vec<String> {
    name.iter().chain(args).chain(&["--json"]).map(|word| (*word).to_owned()).collect()
}

impl Entry {
    fn beside(mut self, name: &[&str], args: &[&str]) -> Self {
        self.floors.push(words(name, args));
        self
    }

    fn figure(mut self, figure: Figure) -> Self {
        self.figures.push(figure);
        self
    }
}

fn figure(label: &'static str, unit: &'static str, place: &'static str, digits: usize) -> Figure {
    Figure { label, unit, place, digits, must: Vec::new(), floor: None }
}

impl Figure {
    fn must(mut self, must: Must) -> Self {
        self.must.push(must);
        self
    }

    fn floor(mut self, index: usize, place: &'static str, times: f64) -> Self {
        self.floor = Some(FloorFigure { index, place, times, is_time: false });
        self
    }

    fn floor_time(mut self, index: usize, place: &'static str, times: f64) -> Self {
        self.floor = Some(FloorFigure { index, place, times, is_time: true });
        self
    }
}
