//! A client with the command line that the public TUF conformance suite drives (its `CLIENT-CLI.md`): `init`, `refresh`
//! and `download`, over plain HTTP on loopback.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use tuf::{Client, Fetch, File, Limits, Store, quoted_role};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Default)]
struct Arguments {
    metadata_dir: PathBuf,
    metadata_url: String,
    target_base_url: String,
    target_dir: PathBuf,
    target_names: Vec<String>,
    command: Vec<String>,
}

/// Trusted metadata as files.
struct Folder(PathBuf);

struct Http {
    metadata: String,
    targets: String,
}

impl Folder {
    fn path(&self, role: &str) -> PathBuf {
        self.0.join(format!("{}.json", quoted_role(role)))
    }
}

impl Store for Folder {
    fn read(&self, role: &str) -> Result<Option<Vec<u8>>, Failure> {
        match std::fs::read(self.path(role)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, role: &str, bytes: &[u8]) -> Result<(), Failure> {
        let new = self.0.join("new");
        std::fs::write(&new, bytes)?;
        Ok(std::fs::rename(new, self.path(role))?)
    }

    fn remove(&mut self, role: &str) -> Result<(), Failure> {
        match std::fs::remove_file(self.path(role)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Fetch for Http {
    fn fetch(&mut self, file: File<'_>, max_bytes: u64) -> Result<Option<Vec<u8>>, Failure> {
        let url = match file {
            File::Metadata(path) => format!("{}/{path}", self.metadata.trim_end_matches('/')),
            File::Target(path) => format!("{}/{path}", self.targets.trim_end_matches('/')),
        };
        let rest = url.strip_prefix("http://").ok_or("only http:// is supported")?;
        let (host, path) = rest.split_once('/').ok_or("no path")?;
        let mut stream = TcpStream::connect(host)?;
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        match &*status {
            "200" => {
                let mut bytes = Vec::new();
                reader.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            "403" | "404" => Ok(None),
            other => Err(format!("status {other}").into()),
        }
    }
}

fn parse() -> Result<Arguments, Failure> {
    let mut parsed = Arguments::default();
    let mut all = std::env::args().skip(1);
    while let Some(argument) = all.next() {
        let mut value = || all.next().ok_or_else(|| format!("{argument} has no value"));
        match &*argument {
            "--metadata-dir" => parsed.metadata_dir = value()?.into(),
            "--metadata-url" => parsed.metadata_url = value()?,
            "--target-base-url" => parsed.target_base_url = value()?,
            "--target-dir" => parsed.target_dir = value()?.into(),
            "--target-name" => parsed.target_names.push(value()?),
            _ => parsed.command.push(argument),
        }
    }
    Ok(parsed)
}

fn run() -> Result<(), Failure> {
    let parsed = parse()?;
    let words: Vec<&str> = parsed.command.iter().map(String::as_str).collect();
    let mut store = Folder(parsed.metadata_dir.clone());
    if let ["init", root] = words[..] {
        return store.write("root", &std::fs::read(root)?);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs().try_into()?;
    let http = Http { metadata: parsed.metadata_url, targets: parsed.target_base_url };
    let mut client = Client::new(http, store, Limits::default(), now);
    let trusted = client.refresh()?;
    match words[..] {
        ["refresh"] => Ok(()),
        ["download"] => {
            for name in &parsed.target_names {
                let target = client.find(&trusted, name)?.ok_or_else(|| format!("no target {name}"))?;
                let path = Path::new(&parsed.target_dir).join(quoted_role(name));
                if std::fs::read(&path).is_ok_and(|bytes| target.verify(&bytes).is_ok()) {
                    continue;
                }
                std::fs::write(path, client.download(&target)?)?;
            }
            Ok(())
        }
        _ => Err("expected init ROOT, refresh or download".into()),
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprint!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprint!(": {error}");
        source = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
