//! Any text where people type one: join strings, ids, numbers, names, codes, keys.
#![no_main]

use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId};
use lanyard_wire::join::JoinString;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(join) = JoinString::parse(text) {
        assert_eq!(JoinString::parse(&join.to_string()), Ok(join));
    }
    let prefixed = format!("lanyard://{text}#p=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
    if let Ok(join) = JoinString::parse(&prefixed) {
        assert_eq!(JoinString::parse(&join.to_string()), Ok(join));
    }
    if let Ok(id) = DeviceId::parse(text) {
        assert_eq!(DeviceId::parse(&id.to_string()), Ok(id));
    }
    if let Ok(id) = NetworkId::parse(text) {
        assert_eq!(NetworkId::parse(&id.to_string()), Ok(id));
    }
    if let Ok(number) = DeviceNumber::parse(text) {
        assert_eq!(DeviceNumber::parse(&number.to_string()), Ok(number));
    }
    if let Ok(code) = InviteCode::parse(text) {
        assert_eq!(InviteCode::parse(&code.to_string()), Ok(code));
    }
    if let Ok(key) = PublicKey::parse(text) {
        assert_eq!(key.to_text(), text, "one key, one text");
    }
    if let Ok(name) = NetworkName::parse(text) {
        assert_eq!(name.as_str(), text);
    }
    let name = DeviceName::sanitize(text);
    assert_eq!(DeviceName::parse(name.as_str()), Ok(name));
});
