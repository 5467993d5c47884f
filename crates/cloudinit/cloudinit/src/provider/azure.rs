//! Azure: the agent's directory and the provisioning disk's `ovf-env.xml` (contract 5.9).

use std::net::{IpAddr, SocketAddr};

use roxmltree::Node;

use super::address::{self, Scope, set_address};
use super::{Malformed, note_ignored, text, xml};
use crate::encoding::decode_base64;
use crate::metadata::Metadata;

/// Reads the addresses of this instance from the agent's `SharedConfig.xml`.
///
/// # Errors
/// The document is not valid XML.
pub fn shared_config(bytes: &[u8]) -> Result<Metadata, Malformed> {
    let document = xml::parse(text(bytes)?)?;
    let root = document.root_element();
    let mut metadata = Metadata::default();
    let id = xml::child(root, "Incarnation").and_then(|node| xml::attribute(node, "instance"));
    let Some(instance) = id.and_then(|id| instance(root, id)) else {
        metadata.notes.push("SharedConfig.xml has no instance that is this machine".to_owned());
        return Ok(metadata);
    };
    let notes = &mut metadata.notes;
    let private = xml::attribute(instance, "address").and_then(|text| {
        address::read(text).unwrap_or_else(|_| {
            note_ignored("address of the instance in SharedConfig.xml", "IP address", notes);
            None
        })
    });
    let public = xml::child(instance, "InputEndpoints").and_then(|endpoints| {
        xml::children(endpoints, "Endpoint").find_map(|endpoint| public_address(endpoint, notes))
    });
    for (address, scope) in [(private, Scope::Private), (public, Scope::Public)] {
        if let Some(address) = address {
            set_address(&mut metadata.addresses, scope, address);
        }
    }
    Ok(metadata)
}

fn instance<'a, 'input>(root: Node<'a, 'input>, id: &str) -> Option<Node<'a, 'input>> {
    let instances = xml::child(root, "Instances")?;
    xml::children(instances, "Instance").find(|instance| xml::attribute(*instance, "id") == Some(id))
}

/// Returns `None` for endpoints that are not public.
fn public_address(endpoint: Node<'_, '_>, notes: &mut Vec<String>) -> Option<IpAddr> {
    let text = xml::attribute(endpoint, "loadBalancedPublicAddress")?;
    let with_port = address::read::<SocketAddr>(text).map(|address| address.map(|address| address.ip()));
    with_port.or_else(|_| address::read(text)).unwrap_or_else(|_| {
        note_ignored("loadBalancedPublicAddress in SharedConfig.xml", "IP address with a port", notes);
        None
    })
}

/// Reads hostname and SSH keys from the provisioning disk's `ovf-env.xml`. Azure's own agent creates a
/// separate user for the keys; here they belong to user `core`.
///
/// # Errors
/// The document is not valid XML.
pub fn provisioning(bytes: &[u8]) -> Result<Metadata, Malformed> {
    let document = xml::parse(text(bytes)?)?;
    let mut metadata = Metadata::default();
    let Some(section) = xml::first(&document, "LinuxProvisioningConfigurationSet") else {
        metadata.notes.push("ovf-env.xml has no provisioning of a Linux".to_owned());
        return Ok(metadata);
    };
    metadata.hostname = xml::child(section, "HostName").and_then(xml::content).map(str::to_owned);
    let keys = xml::child(section, "SSH").and_then(|ssh| xml::child(ssh, "PublicKeys"));
    for (number, key) in keys.into_iter().flat_map(|keys| xml::children(keys, "PublicKey")).enumerate() {
        match xml::child(key, "Value").and_then(xml::content) {
            Some(value) => metadata.keys.push((number.to_string(), value.to_owned())),
            None => metadata.notes.push(format!("ignoring key {number} of ovf-env.xml, which has no value")),
        }
    }
    Ok(metadata)
}

/// Reads the user-data from the provisioning disk's `ovf-env.xml`; empty if there is none.
///
/// # Errors
/// The document is not valid XML, or the user-data is not valid base64.
pub fn user_data(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let document = xml::parse(text(bytes)?)?;
    let data = xml::first(&document, "LinuxProvisioningConfigurationSet")
        .and_then(|section| xml::child(section, "CustomData"))
        .and_then(xml::content)
        .unwrap_or_default();
    Ok(decode_base64(data.as_bytes())?.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the agent of a machine in 2014, shortened.
    const SHARED_CONFIG: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<SharedConfig version="1.0.0.0" goalStateIncarnation="1">
  <Deployment name="c8f9e4c9c18948e1bebf57c5685da756" guid="{1d10394f-c741-4a1a-a6bb-278f213c5a5e}" incarnation="0">
    <ServiceInstance name="c8f9e4c9c18948e1bebf57c5685da756.0" guid="{1e202e9a-8ffe-4915-b6ef-4118c9628fda}" />
  </Deployment>
  <Incarnation number="1" instance="core-test-1" guid="{8767eb4b-b445-4783-b1f5-6c0beaf41ea0}" />
  <Role guid="{53ecc81e-257f-fbc9-a53a-8cf1a0a122b4}" name="core-test-1" settleTimeSeconds="0" />
  <Instances>
    <Instance id="core-test-0" address="100.73.202.63" />
    <Instance id="core-test-1" address="100.73.202.64">
      <FaultDomains randomId="0" updateId="0" updateCount="0" />
      <InputEndpoints>
        <Endpoint name="openInternalEndpoint" address="100.73.202.64" protocol="any" isPublic="false">
          <LocalPorts><LocalPortSelfManaged /></LocalPorts>
        </Endpoint>
        <Endpoint name="ssh" address="100.73.202.64:22" protocol="tcp" isPublic="true"
          loadBalancedPublicAddress="191.239.39.77:22">
          <LocalPorts><LocalPortRange from="22" to="22" /></LocalPorts>
        </Endpoint>
        <Endpoint name="web" isPublic="true" loadBalancedPublicAddress="191.239.39.78:80" />
      </InputEndpoints>
    </Instance>
  </Instances>
</SharedConfig>"#;

    const OVF_ENV: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<ns0:Environment xmlns:ns0="http://schemas.dmtf.org/ovf/environment/1" xmlns:ns1="http://schemas.microsoft.com/windowsazure"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <ns1:ProvisioningSection>
    <ns1:Version>1.0</ns1:Version>
    <ns1:LinuxProvisioningConfigurationSet>
      <ns1:ConfigurationSetType>LinuxProvisioningConfiguration</ns1:ConfigurationSetType>
      <ns1:UserName>azureuser</ns1:UserName>
      <ns1:UserPassword>hush</ns1:UserPassword>
      <ns1:DisableSshPasswordAuthentication>true</ns1:DisableSshPasswordAuthentication>
      <ns1:HostName>core-test-1</ns1:HostName>
      <ns1:SSH><ns1:PublicKeys>
        <ns1:PublicKey><ns1:Fingerprint>EB0C</ns1:Fingerprint><ns1:Path>/home/azureuser/.ssh/authorized_keys</ns1:Path>
          <ns1:Value>ssh-ed25519 AAAA a
          </ns1:Value></ns1:PublicKey>
        <ns1:PublicKey><ns1:Fingerprint>EB0D</ns1:Fingerprint><ns1:Value/></ns1:PublicKey>
        <ns1:PublicKey><ns1:Value>ssh-ed25519 BBBB b</ns1:Value></ns1:PublicKey>
      </ns1:PublicKeys></ns1:SSH>
      <ns1:CustomData>I2Nsb3VkLWNvbmZpZwo=</ns1:CustomData>
    </ns1:LinuxProvisioningConfigurationSet>
  </ns1:ProvisioningSection>
  <ns1:PlatformSettingsSection><ns1:Version>1.0</ns1:Version></ns1:PlatformSettingsSection>
</ns0:Environment>"#;

    fn addresses_of(text: &str) -> (Option<String>, Option<String>, Vec<String>) {
        let Metadata { addresses, notes, .. } = shared_config(text.as_bytes()).unwrap();
        (addresses.private_ipv4, addresses.public_ipv4, notes)
    }

    #[test]
    fn addresses_of_this_instance() {
        let both = (Some("100.73.202.64".into()), Some("191.239.39.77".into()), vec![]);
        assert_eq!(addresses_of(SHARED_CONFIG), both);
        let other = SHARED_CONFIG.replace("instance=\"core-test-1\"", "instance=\"core-test-0\"");
        assert_eq!(addresses_of(&other), (Some("100.73.202.63".into()), None, vec![]));
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        let text = SHARED_CONFIG.replace("191.239.39.77:22", "here");
        let note =
            "ignoring loadBalancedPublicAddress in SharedConfig.xml, which is no IP address with a port";
        let (private, public, notes) = addresses_of(&text);
        assert_eq!((private.as_deref(), public.as_deref()), (Some("100.73.202.64"), Some("191.239.39.78")));
        assert_eq!(notes, [note]);
        let (private, public, notes) = addresses_of(&SHARED_CONFIG.replace("\"100.73.202.64\"", "\"?\""));
        assert_eq!((private, public.as_deref(), notes.len()), (None, Some("191.239.39.77"), 1));
        for text in ["<SharedConfig/>", &SHARED_CONFIG.replace("instance=", "name=")] {
            let note = "SharedConfig.xml has no instance that is this machine";
            assert_eq!(addresses_of(text), (None, None, vec![note.into()]));
        }
        assert!(shared_config(b"<SharedConfig>").is_err());
    }

    #[test]
    fn the_provisioning_disk() {
        let metadata = provisioning(OVF_ENV.as_bytes()).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("core-test-1"));
        assert_eq!(metadata.sorted_keys(), ["ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"]);
        assert_eq!(metadata.notes, ["ignoring key 1 of ovf-env.xml, which has no value"]);
        assert_eq!(user_data(OVF_ENV.as_bytes()).unwrap(), b"#cloud-config\n");
        let unsupported = OVF_ENV.replace("I2Nsb3VkLWNvbmZpZwo=", "");
        assert_eq!(user_data(unsupported.as_bytes()).unwrap(), b"");
        let wrong = OVF_ENV.replace("I2Nsb3VkLWNvbmZpZwo=", "#cloud-config");
        assert_eq!(user_data(wrong.as_bytes()).unwrap_err().to_string(), "its user-data cannot be decoded");
        assert_eq!(provisioning(b"<a/>").unwrap().notes, ["ovf-env.xml has no provisioning of a Linux"]);
        assert!(provisioning(b"").is_err() && provisioning(b"<a>\xff</a>").is_err());
    }
}
