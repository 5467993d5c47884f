//! `conformance --on reference`: runs the cases against one back end and prints failures. `conformance --on three
//! --client python`: runs a third-party client instead.
//!
//! Exit codes: 0 if all held, 1 if not, 77 if the server's program or the client is unavailable.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use conformance::backend::{Cluster, Kind, Plan, Program};
use conformance::clients;
use conformance::failure::Failure;
use conformance::run::{self, Outcome};

/// The exit code for "skipped" of automake and others.
const UNAVAILABLE: u8 = 77;

/// Holds a key-value server to etcd's v2 contract.
#[derive(Parser)]
struct Flags {
    /// What the server is, and so what it is held to
    #[arg(long, value_enum)]
    on: Kind,
    /// The server's program (default for `reference`: Debian's etcd)
    #[arg(long)]
    program: Option<PathBuf>,
    /// Its arguments, with the blanks {name} {data} {client} {peer} {cluster}
    #[arg(long, allow_hyphen_values = true)]
    arguments: Option<String>,
    /// Servers that already run, instead of a program: host:port,...
    #[arg(long, value_delimiter = ',')]
    at: Vec<SocketAddr>,
    /// How many to start (default: 3 for `three`, else 1)
    #[arg(long)]
    members: Option<usize>,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    filter: String,
    /// A client that others wrote, instead of the cases
    #[arg(long, value_enum, requires = "folder", conflicts_with = "filter")]
    client: Option<Client>,
    /// Where that client is built, and kept for the next time
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Names also those that held
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Client {
    /// python-etcd, from PyPI
    Python,
    /// The crate etcd, from crates.io
    Rust,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {}", service::error::chain(&failure));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let program = match (&flags.program, flags.on) {
        (Some(path), Kind::Model) => Program::local(path),
        (Some(path), Kind::Reference) => Program::reference_at(path),
        (Some(path), _) => Program::etcd(path),
        (None, _) => Program::reference(),
    };
    let program = match &flags.arguments {
        Some(line) => Program::new(program.path, line),
        None => program,
    };
    let mut cluster = if flags.at.is_empty() {
        if !program.exists() {
            println!("skipped: {} is not there", program.path.display());
            return Ok(ExitCode::from(UNAVAILABLE));
        }
        let members = flags.members.unwrap_or(if flags.on == Kind::Three { 3 } else { 1 });
        Cluster::start(&Plan { program, members, folder: std::env::temp_dir() })?
    } else {
        Cluster::running(&flags.at)?
    };
    if let (Some(client), Some(folder)) = (flags.client, &flags.folder) {
        return try_client(client, folder, &cluster);
    }
    let verdicts = run::all(&mut cluster, flags.on, &flags.filter)?;
    let count =
        |is_counted: fn(&Outcome) -> bool| verdicts.iter().filter(|one| is_counted(&one.outcome)).count();
    for verdict in &verdicts {
        match &verdict.outcome {
            Outcome::Failed(why) => println!("FAILED {}\n    {why}", verdict.name),
            outcome if flags.verbose => println!("{outcome:?} {}", verdict.name),
            _ => {}
        }
    }
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let held = count(|outcome| *outcome == Outcome::Held);
    let too_few = flags.filter.is_empty() && held < run::MIN_HELD;
    if too_few {
        println!("FAILED: fewer than {} held", run::MIN_HELD);
    }
    println!(
        "{held} held, {} differ as marked, {} not asked of `{}`, {failed} failed",
        count(|outcome| *outcome == Outcome::DiffersAsMarked),
        count(|outcome| *outcome == Outcome::NotApplicable),
        flags.on.name(),
    );
    Ok(if failed == 0 && !too_few { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn try_client(client: Client, folder: &Path, cluster: &Cluster) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(folder).map_err(Failure::io(format!("make {}", folder.display())))?;
    let first = cluster.addresses()[0];
    let tried = match client {
        Client::Python => clients::python(folder, first),
        Client::Rust => clients::rust(folder, first),
    };
    match tried {
        Ok(()) => {
            println!("all of the client's calls held");
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure::NotFetched(why)) => {
            println!("skipped: it cannot be fetched: {}", why.replace('\n', " "));
            Ok(ExitCode::from(UNAVAILABLE))
        }
        Err(failure) => Err(failure),
    }
}
