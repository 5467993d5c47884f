//! `fd-forward`: connects standard input and output to a socket; `--tunnel` runs it on the remote machine.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;

const BUFFER: usize = 16 * 1024;

pub const COMMAND: Command = Command {
    name: "fd-forward",
    arguments: "SOCKET",
    summary: "connect standard input and output to a Unix socket",
    description: &[
        "Exits when the socket is closed. Started by --tunnel on the remote machine to reach the API.",
    ],
    flags: &[],
    examples: &[("fleetctl fd-forward /var/run/fleet.sock", "the command that --tunnel runs")],
    run: Run::LocalAction(run),
};

fn run(args: &ParsedArgs) -> Result<(), Failure> {
    let [path] = &args.arguments[..] else {
        return Err(Failure::new("Provide a single argument"));
    };
    let dial_failure = |error: io::Error| {
        let text = error.to_string();
        let cause = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        Failure::new(format!("Failed dialing remote address: dial unix {path}: connect: {cause}"))
    };
    let mut socket = UnixStream::connect(path).map_err(dial_failure)?;
    let mut writer = socket.try_clone().map_err(dial_failure)?;
    std::thread::spawn(move || {
        copy(&mut io::stdin(), &mut writer);
        // The peer answers pending requests, then closes the connection.
        drop(writer.shutdown(Shutdown::Write));
    });
    copy(&mut socket, &mut io::stdout());
    Ok(())
}

/// Copies until either side is closed. Each read is written immediately.
fn copy(from: &mut impl io::Read, to: &mut impl io::Write) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
