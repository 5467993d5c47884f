//! A TCP connection as two pipes, which `ssh` uses in place of a network.
//!
//! The bytes pass through this process, so that `ssh` loses its connection, and exits, when this process dies, even by
//! SIGKILL. Threads copy them: the runtime may wait for the user meanwhile.

use std::io::{self, PipeReader, PipeWriter};
use std::net::{Shutdown, TcpStream};

use crate::pump::pump;

/// The pipes' ends of `ssh`.
pub struct Transport {
    pub input: PipeReader,
    pub output: PipeWriter,
}

/// Until either side closes.
pub fn relay(tcp: TcpStream) -> io::Result<Transport> {
    let (input, received) = io::pipe()?;
    let (sent, output) = io::pipe()?;
    let incoming = tcp.try_clone()?;
    // Whatever ends a direction ends the other one too, and `ssh` reports the end of its connection.
    std::thread::spawn(move || drop(pump(incoming, received)));
    std::thread::spawn(move || {
        drop(pump(sent, &tcp));
        drop(tcp.shutdown(Shutdown::Both));
    });
    Ok(Transport { input, output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn connected() -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let transport = relay(TcpStream::connect(listener.local_addr().unwrap()).unwrap()).unwrap();
        (transport, listener.accept().unwrap().0)
    }

    #[test]
    fn bytes_and_the_end_of_either_side() {
        let (mut transport, mut server) = connected();
        let much: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let (expect, mut writer) = (much.clone(), server.try_clone().unwrap());
        let writing = std::thread::spawn(move || writer.write_all(&much).unwrap());
        let mut got = vec![0; expect.len()];
        transport.input.read_exact(&mut got).unwrap();
        writing.join().unwrap();
        assert!(got == expect);
        transport.output.write_all(b"hello").unwrap();
        drop(transport);
        let mut rest = String::new();
        server.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hello");

        let (mut transport, server) = connected();
        drop(server);
        assert_eq!(transport.input.read(&mut [0]).unwrap(), 0);
    }
}
