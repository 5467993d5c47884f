//! `keelson fake-machines`: simulated machines, like CoreUpdate's `instance fake` (contract update.md 1.4.11).

use std::process::ExitCode;
use std::time::Duration;

use channel_server::fake::{Machines, load, poll};

use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// URL of the server's Omaha endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8041/v1/update/")]
    url: String,
    /// Application ID that the machines report
    #[arg(long, value_name = "UUID", default_value = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}")]
    app_id: String,
    /// Group that the machines report
    #[arg(long, default_value = "alpha")]
    track: String,
    #[arg(long, default_value = "amd64-usr")]
    board: String,
    /// Initial version of the machines
    #[arg(long, default_value = "0.0.1")]
    version: String,
    /// Number of machines
    #[arg(long, alias = "clients-per-app", default_value_t = 1)]
    count: usize,
    /// Minimum time between two checks of a machine
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    min_sleep: f64,
    /// Maximum time between two checks of a machine
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    max_sleep: f64,
    /// Run a load test of this duration instead
    #[arg(long, value_name = "SECONDS")]
    load: Option<u64>,
    /// Number of connections of the load test
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Checks per second of the load test, in total [default: unlimited]
    #[arg(long)]
    rate: Option<f64>,
}

#[tokio::main(flavor = "current_thread")]
pub async fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let machines = Machines {
        url: flags.url.clone(),
        app_id: flags.app_id.clone(),
        track: flags.track.clone(),
        board: flags.board.clone(),
        version: flags.version.clone(),
        count: flags.count,
    };
    if let Some(seconds) = flags.load {
        let rate = flags.rate.filter(|rate| *rate > 0.0);
        let found = load(machines, flags.connections.max(1), Duration::from_secs(seconds), rate).await?;
        if context.json {
            output::print_json(&serde_json::to_value(&found)?)?;
        } else {
            output::print(format!(
                "{} checks in {:.1} s: {:.0}/s; latency p50 {} us, p99 {} us, max {} us; {} failed\n",
                found.checks,
                found.seconds,
                found.per_second,
                found.p50,
                found.p99,
                found.slowest,
                found.failed
            ))?;
        }
        return Ok(if found.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let interval = (seconds(flags.min_sleep), seconds(flags.max_sleep));
    poll(machines, interval, |line| {
        // stdout is closed; the next signal ends the program.
        if output::print(format!("{line}\n")).is_err() {
            eprintln!("{line}");
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}
