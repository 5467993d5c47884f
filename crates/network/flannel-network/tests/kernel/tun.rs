use std::{
    net::{Ipv4Addr, UdpSocket},
    path::Path,
};

use flannel_network::{Outcome, TunDevice};
use tokio::time::timeout;

use crate::lab::{PATIENCE, skipped, test};

#[test]
fn packets_of_a_tun_device() {
    if !Path::new("/dev/net/tun").exists() {
        return skipped("packets_of_a_tun_device", "there is no /dev/net/tun");
    }
    test("packets_of_a_tun_device", async |lab| {
        let network = lab.one.network();
        // The test's thread is in the namespace of node 1.
        let device = network.open_tun("flannel0").await.unwrap();
        let address = "10.1.34.0/16".parse().unwrap();
        let ensure = |device: TunDevice| async {
            let outcome = network.ensure_tun(&device, address, 1472).await.unwrap();
            (device, outcome)
        };
        let (device, outcome) = ensure(device).await;
        assert_eq!(outcome, Some(Outcome::Changed));
        let (mut device, outcome) = ensure(device).await;
        assert_eq!(outcome, Some(Outcome::Kept));
        for change in
            ["link set flannel0 down", "link set flannel0 mtu 1300", "address add 10.2.0.1/16 dev flannel0"]
        {
            lab.one.ip(change);
            if change.starts_with("address") {
                let error = network.ensure_tun(&device, address, 1472).await.unwrap_err();
                assert!(error.to_string().contains("it must have only 10.1.34.0/16"), "{error}");
                lab.one.ip("address delete 10.2.0.1/16 dev flannel0");
            } else {
                let outcome;
                (device, outcome) = ensure(device).await;
                assert_eq!(outcome, Some(Outcome::Changed), "{change}");
            }
        }
        let error = network.open_tun("flannel0").await.err().unwrap();
        assert!(error.to_string().starts_with("cannot open TUN device flannel0"), "{error}");
        assert_eq!(device.index, lab.one.index("flannel0"));
        assert_eq!(network.existing_tun("flannel0").await.unwrap(), Some(device.index));
        assert_eq!(network.existing_tun("eth0").await.unwrap(), None);
        let shown = lab.one.ip("-4 address show dev flannel0");
        assert!(shown.contains("mtu 1472") && shown.contains("inet 10.1.34.0/16"), "{shown}");
        let socket = lab.one.run(|| UdpSocket::bind((Ipv4Addr::new(10, 1, 34, 0), 0)).unwrap());
        socket.send_to(b"to the other host", (Ipv4Addr::new(10, 1, 45, 7), 9)).unwrap();
        // The kernel also sends packets of its own, of IPv6 for example.
        let mut packet = [0; 2000];
        let found = async {
            loop {
                let length = device.packets.recv(&mut packet).await.unwrap();
                if packet[..length].ends_with(b"to the other host") {
                    return packet[..length].to_vec();
                }
            }
        };
        let mut packet = timeout(PATIENCE, found).await.unwrap();
        assert_eq!((packet[0] >> 4, &packet[16..20]), (4, &[10, 1, 45, 7][..]));
        // The same packet back, with addresses and ports exchanged: the checksums are the same.
        for (a, b, length) in [(12, 16, 4), (20, 22, 2)] {
            for offset in 0..length {
                packet.swap(a + offset, b + offset);
            }
        }
        device.packets.send(&packet).await.unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 100];
        let (length, from) = socket.recv_from(&mut answer).unwrap();
        assert_eq!((&answer[..length], from), (&b"to the other host"[..], "10.1.45.7:9".parse().unwrap()));
        drop(device);
        assert!(!lab.one.ip("-o link").contains("flannel0"));
        let device = network.open_tun("flannel0").await.unwrap();
        lab.one.ip("link delete flannel0");
        assert_eq!(ensure(device).await.1, None);
    });
}
