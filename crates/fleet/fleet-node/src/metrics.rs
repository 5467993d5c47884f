//! Prometheus metrics, with the original's names where they exist.

use std::time::{Duration, SystemTime};

use fleet_core::{agent, schedule};
use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

pub struct Metrics {
    registry: Registry,
    leader_since: Gauge,
    passes: IntCounter,
    pass_seconds: Histogram,
    tasks: IntCounterVec,
    task_failures: IntCounterVec,
    agent_passes: IntCounter,
    agent_tasks: IntCounterVec,
    agent_task_failures: IntCounterVec,
}

impl Metrics {
    /// # Errors
    /// Only if two metrics had the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let of_type = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &["type"]);
        let seconds =
            HistogramOpts::new("fleet_engine_reconcile_duration_second", "Time of a scheduling pass")
                .buckets(vec![0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]);
        let metrics = Self {
            registry: Registry::new(),
            leader_since: Gauge::new(
                "fleet_engine_leader_start_time",
                "Start time of this engine's leadership in seconds since the epoch, 0 while another one leads",
            )?,
            passes: IntCounter::new("fleet_engine_reconcile_count_total", "Scheduling passes")?,
            pass_seconds: Histogram::with_opts(seconds)?,
            tasks: of_type("fleet_engine_task_count_total", "Tasks of the engine that were done")?,
            task_failures: of_type(
                "fleet_engine_task_failure_count_total",
                "Tasks of the engine that failed",
            )?,
            agent_passes: IntCounter::new("fleet_agent_reconcile_count_total", "Passes of the agent")?,
            agent_tasks: of_type("fleet_agent_task_count_total", "Tasks of the agent that were done")?,
            agent_task_failures: of_type(
                "fleet_agent_task_failure_count_total",
                "Tasks of the agent that failed",
            )?,
        };
        let all: [Box<dyn prometheus::core::Collector>; 8] = [
            Box::new(metrics.leader_since.clone()),
            Box::new(metrics.passes.clone()),
            Box::new(metrics.pass_seconds.clone()),
            Box::new(metrics.tasks.clone()),
            Box::new(metrics.task_failures.clone()),
            Box::new(metrics.agent_passes.clone()),
            Box::new(metrics.agent_tasks.clone()),
            Box::new(metrics.agent_task_failures.clone()),
        ];
        for one in all {
            metrics.registry.register(one)?;
        }
        Ok(metrics)
    }

    /// For metrics of other parts.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn leading(&self, leads: bool) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.leader_since.set(if leads { now.as_secs_f64() } else { 0.0 });
    }

    pub fn pass(&self, took: Duration) {
        self.passes.inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    pub fn engine_task(&self, task: &schedule::Task, done: bool) {
        let kind = match task {
            schedule::Task::Schedule { .. } => "AttemptScheduleUnit",
            schedule::Task::Unschedule { .. } => "UnscheduleUnit",
            schedule::Task::Move { .. } => "MoveUnit",
        };
        let counter = if done { &self.tasks } else { &self.task_failures };
        counter.with_label_values(&[kind]).inc();
    }

    pub fn agent_pass(&self) {
        self.agent_passes.inc();
    }

    pub fn completed(&self, task: &agent::Task) {
        self.agent_tasks.with_label_values(&[task.kind()]).inc();
    }

    pub fn failed(&self, task: &agent::Task) {
        self.agent_task_failures.with_label_values(&[task.kind()]).inc();
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("metrics: {error}");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
