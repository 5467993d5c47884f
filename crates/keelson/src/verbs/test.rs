//! `keelson test`: runs scenarios, each on machines of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use machines::cluster::BackendKind;
use scenarios::{Outcome, Run, Scenario};
use serde_json::json;

use crate::context::{Context, interrupt};
use crate::failure::WrongUse;
use crate::provide::{self, Wanted};
use crate::{global, output};

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Scenarios [default: all that are not long]
    #[arg(value_name = "SCENARIO")]
    names: Vec<String>,
    /// Only on this back end [default: on each that a scenario is for]
    #[arg(long, value_name = "BACKEND", value_parser = global::backend)]
    on: Option<BackendKind>,
    /// Also those that take minutes
    #[arg(long)]
    long: bool,
    /// Only show what there is
    #[arg(long)]
    list: bool,
    /// Image to test: a disk that `image build` wrote, or its folder
    #[arg(long, value_name = "FILE", env = "KEELSON_IMAGE")]
    image: Option<PathBuf>,
}

impl Flags {
    fn runs(&self, scenario: &Scenario, backend: BackendKind) -> bool {
        let quick = self.long || !self.names.is_empty() || !scenario.long_on.contains(&backend);
        quick && self.on.is_none_or(|on| on == backend)
    }
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let chosen = choose(flags)?;
    if flags.list {
        list(context, &chosen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runs =
        |scenario: &Scenario| scenario.on.iter().any(|backend| flags.on.is_none_or(|on| on == *backend));
    if !chosen.iter().any(|scenario| runs(scenario)) {
        return Err(WrongUse("no such scenario is for this back end".to_owned()).into());
    }
    let cancel = interrupt()?;
    let wanted = Wanted { named: flags.image.as_deref(), channel: None, on: flags.on, keep_in: None };
    let run = Run {
        image: provide::provide(context, wanted, &cancel)?,
        state: context.state_dir.clone(),
        background: context.background.clone(),
        cancel,
    };
    let mut results = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in chosen {
        for backend in scenario.on.iter().filter(|backend| flags.runs(scenario, **backend)) {
            if run.cancel.load(std::sync::atomic::Ordering::Relaxed) {
                bail!("interrupted");
            }
            let step = context.progress.step("test");
            step.set(format!("{} on {backend}", scenario.name));
            let begun = std::time::Instant::now();
            let outcome = scenarios::run(&run, scenario, *backend);
            let name = format!("{} on {backend}", scenario.name);
            let said = match &outcome {
                Outcome::Passed => format!("{name} passed"),
                Outcome::Failed { why, kept } => format!("{name} FAILED: {why}\n   kept: {}", kept.display()),
                Outcome::Skipped { why } => format!("{name} skipped: {why}"),
            };
            step.done(&said);
            match &outcome {
                Outcome::Passed => passed += 1,
                Outcome::Failed { .. } => failed += 1,
                Outcome::Skipped { .. } => skipped += 1,
            }
            results.push(
                json!({ "scenario": scenario.name, "on": backend, "seconds": begun.elapsed().as_secs_f64(),
                "outcome": outcome }),
            );
        }
    }
    if context.json {
        output::print_json(
            &json!({ "passed": passed, "failed": failed, "skipped": skipped, "scenarios": results }),
        )?;
    } else {
        output::print(format!("{passed} passed, {failed} failed, {skipped} skipped\n"))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn choose(flags: &Flags) -> anyhow::Result<Vec<&'static Scenario>> {
    if flags.names.is_empty() {
        return Ok(scenarios::ALL.iter().collect());
    }
    let find = |name: &String| {
        let known = || scenarios::ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        let found = scenarios::ALL.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| WrongUse(format!("there is no scenario {name}; there are {}", known())).into())
    };
    flags.names.iter().map(find).collect()
}

fn list(context: &Context, chosen: &[&Scenario]) -> anyhow::Result<()> {
    if context.json {
        let all: Vec<_> = chosen
            .iter()
            .map(|scenario| json!({ "name": scenario.name, "on": scenario.on, "long_on": scenario.long_on, "about": scenario.about }))
            .collect();
        return output::print_json(&json!(all));
    }
    let rows: Vec<_> = chosen
        .iter()
        .map(|scenario| {
            let on = scenario.on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            vec![
                scenario.name.to_owned(),
                on,
                match scenario.long_on {
                    [] => String::new(),
                    on => format!(
                        "long on {}",
                        on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                    ),
                },
                scenario.about.to_owned(),
            ]
        })
        .collect();
    output::print(output::table(&["SCENARIO", "ON", "", "SHOWS THAT"], &rows) + "\n")
}
