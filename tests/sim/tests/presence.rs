//! Who is online, how cheaply, and how soon the others know.

use std::time::Duration;

use lanyard_proto::time::Instant;
use lanyard_sim::nat::{Behaviour, Kind};
use lanyard_sim::net::{HostId, SiteConfig, SiteId};
use lanyard_sim::run::check_each;
use lanyard_sim::script::{Act, Flow, HostPlan, Scenario};

#[test]
fn an_idle_device_stays_reachable_behind_a_router_that_forgets_after_thirty_seconds() {
    let name = "an_idle_device_stays_reachable_behind_a_router_that_forgets_after_thirty_seconds";
    let outcomes = check_each(name, || {
        let nat = Behaviour { lifetime: Duration::from_secs(30), ..Kind::Symmetric.behaviour() };
        let mut scenario = Scenario::of(&[Kind::PortRestricted]);
        scenario.sites.push(SiteConfig { nat, lan: 20, ..SiteConfig::of(Kind::Symmetric) });
        scenario.hosts.push(HostPlan::at(SiteId(1)));
        scenario.flows.push(Flow::between(0, 1).during(300, 400));
        scenario.until(320)
    });
    for outcome in outcomes {
        let first = outcome.flows[0].first_answer_after.unwrap();
        assert!(first <= Duration::from_secs(1), "{first:?}");
    }
}

#[test]
fn a_hundred_idle_devices_send_keep_alives_and_nothing_else() {
    let outcomes = check_each("a_hundred_idle_devices_send_keep_alives_and_nothing_else", || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted; 100]);
        // One packet, so that the run knows when to be quiet.
        scenario.flows.push(Flow::between(0, 1).during(3, 4));
        scenario.until(180)
    });
    for outcome in outcomes {
        assert!(outcome.ended_at > Instant::from_secs(170));
    }
}

#[test]
fn a_device_that_starts_last_is_reached_as_soon_as_it_is_online() {
    let outcomes = check_each("a_device_that_starts_last_is_reached_as_soon_as_it_is_online", || {
        let mut scenario = Scenario::of(&[Kind::PortRestricted, Kind::PortRestricted]).ping(0, 1);
        scenario.hosts[1].on_at = Instant::from_secs(30);
        scenario.until(60)
    });
    for outcome in outcomes {
        let first = outcome.flows[0].first_answer_after.unwrap();
        assert!(first <= Duration::from_secs(29), "{first:?}");
        assert!(outcome.flows[0].is_direct);
    }
}

#[test]
fn a_device_whose_network_blocks_udp_does_no_harm() {
    check_each("a_device_whose_network_blocks_udp_does_no_harm", || {
        Scenario::of(&[Kind::UdpBlocked, Kind::PortRestricted, Kind::PortRestricted])
            .ping(0, 1)
            .ping(1, 2)
            .until(120)
    });
}

#[test]
fn a_whole_network_comes_back_after_its_coordinator_did() {
    check_each("a_whole_network_comes_back_after_its_coordinator_did", || {
        let mut scenario = Scenario::of(&[Kind::Symmetric; 20]);
        scenario.flows = (0..19).map(|host| Flow::between(host, host + 1)).collect();
        scenario.at(20, Act::CoordinatorCrash(0, Duration::from_secs(30))).until(130)
    });
}

#[test]
fn a_device_that_shuts_down_and_starts_is_met_again() {
    check_each("a_device_that_shuts_down_and_starts_is_met_again", || {
        Scenario::of(&[Kind::PortRestricted, Kind::Symmetric])
            .ping(0, 1)
            .at(10, Act::Shutdown(HostId(1), Duration::from_secs(20)))
            .until(60)
    });
}
