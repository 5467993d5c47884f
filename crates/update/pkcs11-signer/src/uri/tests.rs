use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: Result<&str, &str>) {
    let parsed = text.parse::<KeyUri>();
    let found = parsed.map(|uri| uri.to_string()).map_err(|error| error.to_string());
    assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
}

#[test]
fn attributes_select_a_module_a_token_and_a_key() {
    let text = "pkcs11:token=my%20safe;serial=0a;slot-id=7;object=root-1;id=%01%ff;type=private\
                ?module-path=/usr/lib/x.so&pin-source=file:/run/pin";
    let uri: KeyUri = text.parse().unwrap();
    let expected = KeyUri {
        token: Some("my safe".to_owned()),
        serial: Some("0a".to_owned()),
        slot_id: Some(7),
        object: Some("root-1".to_owned()),
        id: Some(vec![1, 0xff]),
        module: Some(Module::Path("/usr/lib/x.so".into())),
        pin_source: Some("/run/pin".into()),
        ..KeyUri::default()
    };
    assert_eq!(uri, expected);
    assert_eq!(uri.to_string().parse(), Ok(expected));
    check("PKCS11:model=a;manufacturer=b", Ok("pkcs11:manufacturer=b;model=a"));
    check("pkcs11:", Ok("pkcs11:"));
    check("pkcs11:?module-name=softhsm2", Ok("pkcs11:?module-name=softhsm2"));
    check("pkcs11:serial=", Ok("pkcs11:serial="));
    check("pkcs11:?pin-source=file:///a%20b", Ok("pkcs11:?pin-source=file:/a%20b"));
    check("pkcs11:?pin-source=/a", Ok("pkcs11:?pin-source=file:/a"));
}

#[test]
fn what_could_select_another_key_is_refused_with_its_place() {
    check("keys/root.key", Err("does not begin with `pkcs11:`"));
    check("pkcs11:token", Err("byte 7: expected NAME=VALUE"));
    check("pkcs11:token=a;", Err("byte 15: expected NAME=VALUE"));
    check("pkcs11:token=a;tokem=b", Err("byte 15: unknown attribute `tokem`"));
    check("pkcs11:token=a;token=b", Err("byte 15: `token` occurs twice"));
    check("pkcs11:module-path=/a", Err("byte 7: unknown attribute `module-path`"));
    check("pkcs11:?token=a", Err("byte 8: unknown attribute `token`"));
    check("pkcs11:token=a b", Err("byte 14: this character of `token` must be percent-encoded"));
    check("pkcs11:token=é", Err("byte 13: this character of `token` must be percent-encoded"));
    check("pkcs11:token=a%2", Err("byte 14: this character of `token` must be percent-encoded"));
    check("pkcs11:token=a#b", Err("byte 14: this character of `token` must be percent-encoded"));
    check("pkcs11:token=%ff", Err("`token`: expected UTF-8"));
    check("pkcs11:slot-id=+1", Err("`slot-id`: expected a decimal number"));
    check("pkcs11:slot-id=99999999999999999999", Err("`slot-id`: expected a decimal number"));
    check("pkcs11:type=cert", Err("`type`: expected `private` or `public`"));
    check("pkcs11:?module-path=lib.so", Err("`module-path`: expected the absolute path of a library"));
    check("pkcs11:?module-name=../a", Err("`module-name`: expected a name without `/`"));
    check("pkcs11:?module-name=a&module-path=/a", Err(&UriError::TwoModules.to_string()));
    check("pkcs11:?pin-source=|cat", Err("`pin-source`: expected `file:` and an absolute path"));
    check("pkcs11:?pin-source=file://host/a", Err("`pin-source`: expected `file:` and an absolute path"));
    check(&format!("pkcs11:token={}", "a".repeat(MAX_LENGTH)), Err("longer than 4096 bytes"));
}

#[test]
fn a_pin_is_refused_and_in_no_error() {
    for text in [
        "pkcs11:token=a?pin-value=271828",
        "pkcs11:pin-value=271828",
        "pkcs11:token=a?pin-value=271828&x=1",
        "pin-value=271828",
    ] {
        check(text, Err(&UriError::PinValue.to_string()));
    }
    for text in
        ["pkcs11:271828", "pkcs11:a?271828", "pkcs11:271828=1", "pkcs11:pin=271828", "pkcs11:slot-id=x271828"]
    {
        let error = text.parse::<KeyUri>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("271828"), "{error:?}");
    }
}

fn uris() -> impl Strategy<Value = KeyUri> {
    let text = || proptest::option::of(".{0,8}");
    let file = || "/[^/\\x00][^\\x00]{0,8}";
    let module = prop_oneof![
        file().prop_map(|path| Module::Path(path.into())),
        "[^/\\x00]{1,8}".prop_map(Module::Name),
    ];
    let attributes = (text(), text(), text(), text(), text());
    let others = (
        proptest::option::of(any::<u64>()),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8)),
        proptest::option::of(module),
        proptest::option::of(file().prop_map(PathBuf::from)),
    );
    (attributes, others).prop_map(
        |((token, manufacturer, model, serial, object), (slot_id, id, module, pin_source))| KeyUri {
            token,
            manufacturer,
            model,
            serial,
            slot_id,
            object,
            id,
            module,
            pin_source,
        },
    )
}

proptest! {
    #[test]
    fn a_uri_is_what_its_text_is_parsed_to(uri in uris()) {
        prop_assume!(!uri.to_string().contains("pin-value"));
        prop_assert_eq!(uri.to_string().parse(), Ok(uri));
    }

    /// No text panics, and what is accepted has one meaning.
    #[test]
    fn any_text_is_a_uri_or_an_error(
        text in prop_oneof![".*", "(?i)pkcs11:[a-z0-9%;?&=/-]{0,40}",
            "pkcs11:(token|id|object|slot-id)=.{0,9};(serial|type)=.{0,9}\\?(module-path|pin-source)=.{0,9}"],
    ) {
        if let Ok(uri) = text.parse::<KeyUri>() {
            prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        }
    }
}
