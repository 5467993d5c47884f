//! Relays a TCP connection through two pipes to `ssh`.
//!
//! As the data passes through this process, `ssh` is disconnected and exits when this process exits, even by SIGKILL.
//! Threads copy the data, as a prompt may block the runtime.

use std::io::{self, PipeReader, PipeWriter};
use std::net::{Shutdown, TcpStream};

use crate::copy::copy;

/// The ends of the pipes for `ssh`.
pub struct Transport {
    pub input: PipeReader,
    pub output: PipeWriter,
}

/// Copies in both directions until either side closes.
pub fn relay(tcp: TcpStream) -> io::Result<Transport> {
    let (input, received) = io::pipe()?;
    let (sent, output) = io::pipe()?;
    let incoming = tcp.try_clone()?;
    // The end of one direction ends the other, and `ssh` reports the disconnect.
    std::thread::spawn(move || drop(copy(incoming, received)));
    std::thread::spawn(move || {
        drop(copy(sent, &tcp));
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
    fn data_and_disconnects() {
        let (mut transport, mut server) = connected();
        let data: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let (expect, mut writer) = (data.clone(), server.try_clone().unwrap());
        let writing = std::thread::spawn(move || writer.write_all(&data).unwrap());
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
