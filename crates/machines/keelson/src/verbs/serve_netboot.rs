//! `keelson serve-netboot`: runs the netboot server of the crate `netboot`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use netboot::catalog::Loaders;
use netboot::dhcp::lease::Range;
use netboot::dhcp::reply::{BOOT_PORT, Network, Port, SERVER_PORT};
use netboot::interface::{Interface, choose, interfaces};
use netboot::progress::Event;
use netboot::server::{Report, Server, Settings, dhcp_contents};
use netboot::{dhcp_server, dnsmasq, http, tftp};
use serde_json::json;
use service::Stop;
use tokio::net::{TcpListener, UdpSocket};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::context::Context;
use crate::failure::UsageError;
use crate::listen_error::ListenError;
use crate::{machine_tools, output};

/// Below the state folder.
const FOLDER: &str = "netboot";

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Folder with the files of `keelson image build --format pxe`
    #[arg(long, value_name = "DIR", required_unless_present = "print_dnsmasq")]
    images: Option<PathBuf>,
    /// Rules: which machine boots what, and whether it installs
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// User-data of all machines, a template
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    user_data: Option<PathBuf>,
    /// This host's address at which machines reach the server [default: the only one that is not on the loopback]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// Folder of iPXE's programs [default: /usr/lib/ipxe, or that of the checkout's tools]
    #[arg(long, value_name = "DIR")]
    ipxe: Option<PathBuf>,
    /// Folder of installed machines and leases [default: netboot in the state folder]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Be the DHCP server of a lab network and lease these addresses, instead of a proxy beside another server
    #[arg(long, value_name = "FIRST-LAST")]
    dhcp: Option<Range>,
    /// Default route of the lab network
    #[arg(long, value_name = "ADDRESS", requires = "dhcp")]
    router: Option<Ipv4Addr>,
    /// Name server of the lab network; can be repeated
    #[arg(long, value_name = "ADDRESS", requires = "dhcp")]
    name_server: Vec<Ipv4Addr>,
    /// Do not answer DHCP: another server refers machines to this one (--print-dnsmasq)
    #[arg(long, conflicts_with = "dhcp")]
    no_dhcp: bool,
    /// UDP port of TFTP; firmware uses 69
    #[arg(long, value_name = "PORT", default_value_t = dnsmasq::TFTP_PORT)]
    tftp_port: u16,
    /// TCP port of HTTP
    #[arg(long, value_name = "PORT", default_value_t = 8042)]
    http_port: u16,
    /// Print settings for dnsmasq that refer machines to this server, and exit
    #[arg(long)]
    print_dnsmasq: bool,
}

/// Serves until it is interrupted.
#[tokio::main(flavor = "current_thread")]
pub async fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let all = interfaces().context("cannot list the addresses of this host")?;
    let interface = choose(&all, flags.address).map_err(|error| UsageError(error.to_string()))?;
    let (ipxe, _tools) = match &flags.ipxe {
        Some(ipxe) => (std::path::absolute(ipxe).context("--ipxe")?, None),
        None => machine_tools::ipxe(context).map(|(ipxe, tools)| (ipxe, Some(tools)))?,
    };
    let images = match &flags.images {
        Some(images) if !flags.print_dnsmasq => images,
        _ => {
            let loaders = Loaders::find(&ipxe);
            let contents = dhcp_contents(interface.address, flags.http_port, &loaders);
            output::print(dnsmasq::settings(&contents, &interface, flags.tftp_port, &ipxe))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut settings = settings(context, flags, &interface, images, ipxe)?;
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("netboot", LevelFilter::INFO)
        .with_target("service::reload", LevelFilter::INFO);
    service::log::start("keelson", targets)?;
    let stop = Stop::by_signal()?;
    let sockets = Sockets::open(flags, &interface).await?;
    // 0 stands for any free port.
    settings.http_port = sockets.http.local_addr()?.port();
    let ipxe = settings.ipxe.clone();
    let server = Arc::new(Server::open(settings, report(context.json))?);
    announce(context, flags, (images, &ipxe), &server, &sockets)?;
    sockets.serve(&server, &stop).await;
    Ok(ExitCode::SUCCESS)
}

fn settings(
    context: &Context,
    flags: &Flags,
    interface: &Interface,
    images: &Path,
    ipxe: PathBuf,
) -> anyhow::Result<Settings> {
    let lab = flags.dhcp.map(|range| {
        range
            .check(interface.address, interface.mask)
            .map_err(|error| UsageError(format!("invalid value {range} for --dhcp: {error}")))?;
        let (router, name_servers) = (flags.router, flags.name_server.clone());
        Ok::<_, UsageError>((range, Network { mask: interface.mask, router, name_servers }))
    });
    if let Some(file) = flags.user_data.as_ref().filter(|file| !file.is_file()) {
        anyhow::bail!("cannot read {}: it is not a file", file.display());
    }
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| path.display().to_string());
    Ok(Settings {
        address: interface.address,
        http_port: flags.http_port,
        images: absolute(images)?,
        ipxe,
        rules: flags.rules.as_deref().map(absolute).transpose()?,
        user_data: flags.user_data.as_deref().map(absolute).transpose()?,
        state: flags.state.clone().unwrap_or_else(|| context.state_dir.join(FOLDER)),
        lab: lab.transpose()?,
    })
}

/// All sockets: they are open before the server is announced.
struct Sockets {
    dhcp: Option<UdpSocket>,
    boot: Option<UdpSocket>,
    tftp: UdpSocket,
    http: TcpListener,
}

impl Sockets {
    async fn open(flags: &Flags, interface: &Interface) -> Result<Self, ListenError> {
        let dhcp = |port| dhcp_server::open(&interface.name, port).map_err(ListenError::udp("DHCP", port));
        let address = interface.address;
        let tftp = UdpSocket::bind((address, flags.tftp_port)).await;
        let http = TcpListener::bind((address, flags.http_port)).await;
        Ok(Self {
            dhcp: if flags.no_dhcp { None } else { Some(dhcp(SERVER_PORT)?) },
            boot: if flags.no_dhcp || flags.dhcp.is_some() { None } else { Some(dhcp(BOOT_PORT)?) },
            tftp: tftp.map_err(ListenError::udp("TFTP", flags.tftp_port))?,
            http: http.map_err(ListenError::tcp("HTTP", flags.http_port))?,
        })
    }

    async fn serve(self, server: &Arc<Server>, stop: &Stop) {
        let dhcp = async |socket: Option<UdpSocket>, port| {
            if let Some(socket) = socket {
                dhcp_server::serve(socket, port, server.clone(), stop.clone().wait()).await;
            }
        };
        tokio::join!(
            dhcp(self.dhcp, Port::Server),
            dhcp(self.boot, Port::Boot),
            tftp::server::serve(self.tftp, server.clone(), stop.clone().wait()),
            http::serve(self.http, server.clone(), stop.clone().wait()),
        );
    }
}

fn announce(
    context: &Context,
    flags: &Flags,
    (images, ipxe): (&Path, &Path),
    server: &Server,
    sockets: &Sockets,
) -> anyhow::Result<()> {
    let mode = match (&flags.dhcp, flags.no_dhcp) {
        (Some(_), _) => "server",
        (None, true) => "none",
        (None, false) => "proxy",
    };
    let tftp = sockets.tftp.local_addr()?;
    if context.json {
        output::print(format!(
            "{}\n",
            json!({ "url": server.url(), "dhcp": mode, "tftp": tftp.to_string() })
        ))?;
        return Ok(());
    }
    output::print(format!("{}/\n", server.url()))?;
    let newest = server.catalog().images().last().map(|image| format!("{} {}", image.version, image.channel));
    let note = |text: &str| context.progress.note(text);
    match newest {
        Some(newest) => note(&format!("newest image: {newest}")),
        None => note(&format!(
            "warning: {0} has no image yet: keelson image build --format pxe --out {0}",
            images.display()
        )),
    }
    let loaders = server.loaders();
    if loaders.bios().is_none() || loaders.efi().is_none() {
        note(&format!(
            "warning: {} lacks undionly.kpxe, snponly.efi or ipxe.efi: firmware without iPXE cannot boot (apt-get install \
             ipxe, or --ipxe DIR)",
            ipxe.display()
        ));
    }
    match mode {
        "proxy" => note("proxy DHCP: another DHCP server gives addresses"),
        "none" => note("no DHCP: keelson serve-netboot --print-dnsmasq prints settings for another server"),
        _ => note("DHCP server: no other one may be in this network"),
    }
    Ok(())
}

/// Prints a line per event.
fn report(json: bool) -> Report {
    Box::new(move |event| {
        let line = if json { json_line(event) } else { text_line(event) };
        if let Err(error) = output::print(line) {
            tracing::warn!("{error:#}");
        }
    })
}

fn json_line(event: &Event) -> String {
    let time = timestamp(event).to_string();
    let entry = &event.entry;
    let line = json!({
        "time": time, "mac": event.mac, "address": event.address, "stage": entry.stage, "detail": entry.detail
    });
    format!("{line}\n")
}

fn text_line(event: &Event) -> String {
    let time = timestamp(event).to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    let address = event.address.map(|address| address.to_string()).unwrap_or_default();
    let entry = &event.entry;
    let line = format!("{time}  {}  {address:<15}  {:<9}  {}", event.mac, entry.stage.name(), entry.detail);
    format!("{}\n", line.trim_end())
}

fn timestamp(event: &Event) -> Timestamp {
    let seconds = i64::try_from(event.entry.time).unwrap_or_default();
    Timestamp::from_second(seconds).unwrap_or_default()
}
