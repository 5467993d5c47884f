use super::*;

const CLIENT: u32 = 7;

/// What the kernel checks of a message, and the host's service behind it.
struct Host {
    properties: Vec<(&'static str, Vec<u8>)>,
    /// Result of the connection.
    connected: i32,
    calls: usize,
}

impl Host {
    fn new(properties: &[(&'static str, &[u8])]) -> Self {
        let properties = properties.iter().map(|(name, value)| (*name, value.to_vec())).collect();
        Self { properties, connected: 0, calls: 0 }
    }

    #[allow(unsafe_code, reason = "the kernel reads and writes the buffers of a message")]
    fn get(&self, message: &mut [u8]) -> i32 {
        let buffer = |message: &[u8], index: usize| {
            let start = parameter(index);
            assert_eq!(number(message, start), BUFFER);
            let address = u64::from_ne_bytes(message[start + 8..start + 16].try_into().unwrap());
            (
                std::ptr::with_exposed_provenance_mut::<u8>(address as usize),
                number(message, start + 4) as usize,
            )
        };
        let (name, value) = (buffer(message, 0), buffer(message, 1));
        // SAFETY: the client's buffers live during its call.
        let (name, value) = unsafe {
            (std::slice::from_raw_parts(name.0, name.1), std::slice::from_raw_parts_mut(value.0, value.1))
        };
        let Some((b'\0', name)) = name.split_last() else { panic!("{name:?}") };
        let Some((_, found)) = self.properties.iter().find(|(known, _)| known.as_bytes() == name) else {
            return NOT_FOUND;
        };
        let all = [found, &b"\0RDONLYGUEST\0"[..]].concat();
        assert_eq!((number(message, parameter(2)), number(message, parameter(3))), (NUMBER_64, NUMBER_32));
        put(message, parameter(3) + 4, &u32::try_from(all.len()).unwrap().to_ne_bytes());
        if all.len() > value.len() {
            return BUFFER_OVERFLOW;
        }
        value[..all.len()].copy_from_slice(&all);
        0
    }
}

impl Ioctl for Host {
    fn call(&mut self, request: u32, message: &mut [u8]) -> io::Result<()> {
        self.calls += 1;
        let size = number(message, 0) as usize;
        assert_eq!(number(message, 4), HEADER_VERSION);
        // Read and write, the message's size, the driver's letter.
        assert_eq!(request >> 8, 0xC000_0000 >> 8 | u32::try_from(size).unwrap() << 8 | u32::from(b'V'));
        assert_eq!(size, message.len());
        let received = number(message, 16) as usize;
        let result = match request & 0xff {
            4 => {
                assert_eq!((size, received), (24 + 132, 24 + 4));
                assert_eq!(&message[24..45], b"\x02\0\0\0VBoxGuestPropSvc\0");
                put(message, HEADER_BYTES, &CLIENT.to_ne_bytes());
                self.connected
            }
            7 => {
                assert_eq!((size, received), (104, 104));
                assert_eq!((number(message, 24), number(message, 28)), (CLIENT, 1));
                assert_eq!(message[36..40], [0, 0, 4, 0]);
                self.get(message)
            }
            other => panic!("{other}"),
        };
        put(message, RESULT, &result.to_ne_bytes());
        Ok(())
    }
}

#[test]
fn values_of_any_length_are_read() {
    let long = vec![b'x'; 100_000];
    let host = Host::new(&[("/a", b"core-01"), ("/long", &long), ("/empty", b"")]);
    let mut client = Client::connect(host).unwrap();
    assert_eq!(client.get("/a").unwrap().unwrap(), b"core-01");
    assert_eq!(client.get("/empty").unwrap().unwrap(), b"");
    assert_eq!(client.get("/none").unwrap(), None);
    let before = client.device.calls;
    assert_eq!(client.get("/long").unwrap().unwrap(), long);
    assert_eq!(client.device.calls - before, 2, "the second one has the buffer that the host wants");
}

#[test]
fn refusals_are_errors() {
    let huge = vec![b'x'; MAX_RAW_BYTES];
    let mut client = Client::connect(Host::new(&[("/huge", &huge)])).unwrap();
    let error = client.get("/huge").unwrap_err().to_string();
    assert_eq!(error, format!("/huge has {} bytes, more than {MAX_RAW_BYTES}", MAX_RAW_BYTES + 13));
    let host = Host { connected: -2900, ..Host::new(&[]) };
    let error = Client::connect(host).err().unwrap().to_string();
    assert_eq!(error, "VirtualBox has no guest properties: status -2900");
    let file = tempfile::tempfile().unwrap();
    assert_eq!(Client::connect(file).err().unwrap().raw_os_error(), Some(libc::ENOTTY));
}
