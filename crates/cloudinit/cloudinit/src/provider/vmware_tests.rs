use super::*;

/// From vSphere, for a virtual machine with vApp properties.
const OVF_ENV: &str = r##"<?xml version="1.0" encoding="UTF-8"?>
<Environment
     xmlns="http://schemas.dmtf.org/ovf/environment/1"
     xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
     xmlns:oe="http://schemas.dmtf.org/ovf/environment/1"
     xmlns:ve="http://www.vmware.com/schema/ovfenv"
     oe:id="CoreOS-vmw">
   <PlatformSection>
      <Kind>VMware ESXi</Kind>
      <Version>5.5.0</Version>
      <Vendor>VMware, Inc.</Vendor>
      <Locale>en</Locale>
   </PlatformSection>
   <PropertySection>
         <Property oe:key="foo" oe:value="42"/>
         <Property oe:key="guestinfo.hostname" oe:value="core-01"/>
         <Property oe:key="guestinfo.dns.server.0" oe:value="8.8.8.8"/>
         <Property oe:key="guestinfo.interface.0.role" oe:value="private"/>
         <Property oe:key="guestinfo.interface.0.dhcp" oe:value="no"/>
         <Property oe:key="guestinfo.interface.0.ip.0.address" oe:value="10.0.0.8/24"/>
         <Property oe:key="guestinfo.empty"/>
         <Property oe:key="guestinfo.coreos.config.data" oe:value="#cloud-config
hostname: &quot;a&quot;&amp;b&#10;	tab"/>
   </PropertySection>
   <ve:EthernetAdapterSection>
      <ve:Adapter ve:mac="00:00:00:00:00:00" ve:network="foo" ve:unitNumber="7"/>
   </ve:EthernetAdapterSection>
</Environment>"##;

fn from(keys: &[(&str, &str)]) -> BTreeMap<String, String> {
    keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn metadata_of(keys: &BTreeMap<String, String>) -> Metadata {
    metadata(&mut |key| keys.get(key).cloned())
}

#[test]
fn an_ovf_environment() {
    let properties = properties(OVF_ENV.as_bytes()).unwrap();
    assert_eq!(properties.len(), 6);
    let found = user_data(&mut |key| properties.get(key).cloned()).unwrap();
    let expect = "#cloud-config\nhostname: \"a\"&b\n\ttab";
    assert_eq!(found, UserData::Inline(expect.into()));
    let metadata = metadata_of(&properties);
    assert_eq!(metadata.hostname.as_deref(), Some("core-01"));
    assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.8"));
    let network = from(&[
        ("dns.server.0", "8.8.8.8"),
        ("interface.0.dhcp", "no"),
        ("interface.0.ip.0.address", "10.0.0.8/24"),
    ]);
    assert_eq!(metadata.network, Some(NetworkSource::Vmware(network)));
    assert_eq!(super::properties(b"<Environment/>").unwrap(), BTreeMap::new());
    assert!(super::properties(b"<Environment>").is_err());
}

#[test]
fn line_ends_in_either_quote() {
    for (written, expect) in [
        ("'a\r\nb \"c\" &apos;'", "a\nb \"c\" '"),
        ("\"a\nb 'c'\"", "a\nb 'c'"),
        ("\"a\rb\"", "a b"),
        ("''", ""),
    ] {
        let text = format!("<e xmlns:o='x'><Property o:key='guestinfo.k' o:value={written}/></e>");
        assert_eq!(properties(text.as_bytes()).unwrap(), from(&[("k", expect)]), "{written}");
    }
}

#[test]
fn interfaces_end_at_the_first_gap() {
    let keys = [
        ("dns.domain.0", "example.org"),
        ("dns.server.1", "never asked for"),
        ("interface.0.name", "eth0"),
        ("interface.0.role", "public"),
        ("interface.0.ip.0.address", "192.0.2.1/24"),
        ("interface.0.ip.1.address", "192.0.2.2/24"),
        ("interface.0.ip.2.address", "2001:db8::1/64"),
        ("interface.0.route.0.gateway", "192.0.2.254"),
        ("interface.0.route.1.destination", "0.0.0.0/0"),
        ("interface.1.mac", "00:11:22:33:44:55"),
        ("interface.1.role", "private"),
        ("interface.1.ip.0.address", "fd00::1/64"),
        ("interface.3.name", "eth3"),
    ];
    let metadata = metadata_of(&from(&keys));
    let addresses = Addresses {
        public_ipv4: Some("192.0.2.2".into()),
        public_ipv6: Some("2001:db8::1".into()),
        private_ipv6: Some("fd00::1".into()),
        private_ipv4: None,
    };
    assert_eq!(metadata.addresses, addresses);
    let Some(NetworkSource::Vmware(network)) = metadata.network else { panic!("{:?}", metadata.network) };
    let skipped = ["dns.server.1", "interface.0.role", "interface.1.role", "interface.3.name"];
    let expect = keys.into_iter().filter(|(key, _)| !skipped.contains(key)).collect::<Vec<_>>();
    assert_eq!(network, from(&expect));
    assert_eq!(metadata.notes, Vec::<String>::new());
    assert_eq!(metadata_of(&BTreeMap::new()), Metadata::default());
}

#[test]
fn invalid_value_does_not_affect_others() {
    let metadata = metadata_of(&from(&[
        ("hostname", "a"),
        ("interface.0.role", "outer"),
        ("interface.0.ip.0.address", "192.0.2.1/24"),
        ("interface.1.role", "private"),
        ("interface.1.ip.0.address", "10.0.0.1"),
        ("interface.1.ip.1.address", "10.0.0.2/33"),
        ("interface.1.ip.2.address", "10.0.0.3/8"),
    ]));
    assert_eq!(metadata.hostname.as_deref(), Some("a"));
    let addresses = Addresses { private_ipv4: Some("10.0.0.3".into()), ..Addresses::default() };
    assert_eq!(metadata.addresses, addresses);
    assert_eq!(
        metadata.notes,
        [
            "unrecognized role: \"outer\"",
            "ignoring interface.1.ip.0.address, which is no address with a prefix length",
            "ignoring interface.1.ip.1.address, which is no address with a prefix length",
        ]
    );
    // A host that has a value for every key must not cause endless lookups.
    let mut lookups = 0;
    let endless = super::metadata(&mut |_| {
        lookups += 1;
        Some("x".into())
    });
    assert_eq!(lookups, MAX_PROVIDER_KEYS);
    assert_eq!(endless.notes.last().unwrap(), "at most 1000 keys of guestinfo are read");
}

fn check(data: &str, encoding: &str, url: &str, expect: Result<UserData, &str>) {
    let all =
        [("coreos.config.data", data), ("coreos.config.data.encoding", encoding), ("coreos.config.url", url)];
    let keys = from(&all);
    let found = user_data(&mut |key| keys.get(key).cloned());
    assert_eq!(
        found.map_err(|error| causes(&error)),
        expect.map_err(str::to_owned),
        "{data} {encoding} {url}"
    );
}

fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[test]
fn encodings() {
    let inline = |text: &str| Ok(UserData::Inline(text.into()));
    check("", "", "", inline(""));
    check("", "base64", "", inline(""));
    check("#cloud-config\n", "", "http://ignored", inline("#cloud-config\n"));
    for (data, encoding) in [("aQ==", "b64"), ("aQ==", "base64"), ("aQ==", " base64\n")] {
        check(data, encoding, "", inline("i"));
    }
    let packed =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, crate::encoding::gzip(b"i"));
    for encoding in ["gz+base64", "gzip+base64", "gz+b64", "gzip+b64"] {
        check(&packed, encoding, "", inline("i"));
    }
    let encoding = ContentEncoding { base64: true, gzip: false };
    check("", "b64", " http://h/x ", Ok(UserData::Url { url: "http://h/x".into(), encoding }));
    let malformed = "its user-data cannot be decoded: ";
    check("i", "rot13", "", Err(&format!("{malformed}Unsupported encoding \"rot13\"")));
    check("*", "b64", "", Err(&format!("{malformed}Unable to decode base64: Invalid symbol 42, offset 0.")));
}

#[test]
fn keys_of_cloud_init_are_the_last_choice() {
    let gzip =
        crate::encoding::gzip(b"local-hostname: b\ninstance-id: i-1\npublic-keys: [ssh-ed25519 AAAA a]\n");
    let packed = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, gzip);
    let mut keys = from(&[
        ("userdata", "aQ=="),
        ("userdata.encoding", "base64"),
        ("metadata", &packed),
        ("metadata.encoding", "gzip+base64"),
    ]);
    let data = |keys: &BTreeMap<String, String>| user_data(&mut |key| keys.get(key).cloned()).unwrap();
    assert_eq!(data(&keys), UserData::Inline(b"i".to_vec()));
    let metadata = metadata_of(&keys);
    assert_eq!((metadata.hostname.as_deref(), metadata.instance.as_deref()), (Some("b"), Some("i-1")));
    assert_eq!(metadata.sorted_keys(), ["ssh-ed25519 AAAA a"]);
    keys.extend(from(&[("coreos.config.data", "ours"), ("hostname", "a")]));
    assert_eq!(data(&keys), UserData::Inline(b"ours".to_vec()));
    assert_eq!(metadata_of(&keys).hostname.as_deref(), Some("a"));
    keys.insert("metadata.encoding".into(), String::new());
    let metadata = metadata_of(&keys);
    assert_eq!((metadata.hostname.as_deref(), metadata.instance), (Some("a"), None));
    assert!(metadata.notes[0].starts_with("ignoring guestinfo.metadata: it is no"), "{:?}", metadata.notes);
}
