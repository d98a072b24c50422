//! `lanyard-server check-config`

use std::process::ExitCode;

use super::Place;
use crate::config::Config;

pub(super) fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    place.output.print("config", &config, || render(&place.config_path().display().to_string(), &config))
}

fn render(path: &str, config: &Config) -> String {
    let list =
        |items: Vec<String>| if items.is_empty() { "all addresses".to_owned() } else { items.join(", ") };
    let off = |text: &str| if text.is_empty() { "off".to_owned() } else { text.to_owned() };
    format!(
        "{path} is in order\npublic    {}\ndata      {}\ndatabase  {}\nservices  {}\ncontrol   udp {}\n\
         stun      udp {}, ports {} and {}\nweb       {}\ntls       {}\nbus       listen {}, connect {}\nlog       {}\n",
        config.public.host,
        config.data.dir.display(),
        config.database().map_or_else(|problem| problem.to_string(), |location| location.to_string()),
        list(config.services.run.iter().map(|service| service.as_str().to_owned()).collect()),
        list(config.control.listen.iter().map(ToString::to_string).collect()),
        list(config.stun.addresses.iter().map(ToString::to_string).collect()),
        config.stun.ports[0],
        config.stun.ports[1],
        off(&config.web.listen),
        off(&config.web.tls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        off(&config.bus.listen),
        off(&config.bus.connect),
        config.log.level,
    )
}
