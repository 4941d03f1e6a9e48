//! Docker's rules: compared with recorded engines, and walked by packets.

mod records;
mod walks;
mod world;

use switch::filter::Table;

use self::world::{World, network};
use super::*;

/// The DOCKER rules of both tables, without counters.
fn saved(world: &World, table: Table) -> Vec<String> {
    let lines = world.nf.rules.save(Family::V4, table, &world::name);
    lines
        .into_iter()
        .filter(|line| line.starts_with("-A"))
        .collect()
}

fn all_saved(world: &World) -> Vec<String> {
    let tables = [Table::Filter, Table::Nat, Table::Raw];
    tables
        .into_iter()
        .flat_map(|table| saved(world, table))
        .collect()
}

#[test]
fn what_comes_goes_without_a_trace() {
    for engine in [Engine::V20_10, Engine::V29] {
        for proxy in [true, false] {
            let mut world = World::new(engine, proxy);
            world.set(1, network(1));
            let before = all_saved(&world);
            world.set(2, network(2));
            world.publish(
                2,
                2,
                &[
                    "192.0.2.2:8080->80",
                    "0.0.0.0:8081->80",
                    "127.0.0.1:9000->90",
                ],
            );
            world.links(2, &[(3, 2, 5432)]);
            assert_ne!(all_saved(&world), before);
            world.unpublish(2, 2);
            world.links(2, &[]);
            world.remove(2);
            assert_eq!(all_saved(&world), before, "{engine:?}");
        }
    }
}

#[test]
fn a_network_that_goes_takes_its_ports_along() {
    for engine in [Engine::V20_10, Engine::V29] {
        let mut world = World::new(engine, false);
        world.set(1, network(1));
        let before = all_saved(&world);
        world.set(2, network(2));
        world.publish(2, 2, &["0.0.0.0:8080->80"]);
        world.links(2, &[(3, 2, 5432)]);
        world.remove(2);
        assert_eq!(all_saved(&world), before, "{engine:?}");
    }
}

#[test]
fn setting_a_network_again_keeps_its_place_and_its_ports() {
    for engine in [Engine::V20_10, Engine::V29] {
        let mut world = World::new(engine, true);
        world.set(1, network(1));
        world.publish(1, 2, &["0.0.0.0:8080->80"]);
        world.links(1, &[(3, 2, 5432)]);
        world.set(2, network(2));
        let before = all_saved(&world);
        world.set(1, network(1));
        assert_eq!(all_saved(&world), before, "{engine:?}");
        let mut closed = network(1);
        closed.icc = false;
        world.set(1, closed);
        assert_ne!(all_saved(&world), before, "{engine:?}");
    }
}

#[test]
fn two_host_ports_share_the_containers_rule() {
    let mut world = World::new(Engine::V20_10, true);
    world.set(1, network(1));
    world.publish(1, 2, &["0.0.0.0:8080->80", "0.0.0.0:8081->80"]);
    world.publish(1, 3, &["0.0.0.0:8082->80"]);
    let open = |world: &World| {
        let lines = saved(world, Table::Filter);
        lines
            .iter()
            .filter(|line| line.contains("--dport 80 "))
            .count()
    };
    assert_eq!(open(&world), 2);
    world.unpublish(1, 2);
    assert_eq!(open(&world), 1);
}

#[test]
fn a_closed_port_forgets_its_connections() {
    let mut world = World::new(Engine::V29, true);
    world.set(1, network(1));
    world.publish(1, 2, &["0.0.0.0:8080->80"]);
    world.reach(world::LAN, "192.0.2.2:8080");
    assert_eq!(world.nf.conntrack.len(), 1);
    world.unpublish(1, 2);
    assert!(world.nf.conntrack.is_empty());
}

/// What `iptables -t nat -nL` shows on a fresh host with one published container.
#[test]
fn the_nat_table_of_docker_29() {
    let mut world = World::new(Engine::V29, true);
    world.set(1, network(1));
    world.publish(1, 2, &["0.0.0.0:8080->80"]);
    let text = world
        .nf
        .rules
        .list(Family::V4, Table::Nat, false, &world::name);
    assert!(text.contains("MASQUERADE  all  --  172.17.0.0/16        0.0.0.0/0           \n"));
    assert!(text.ends_with(
        "Chain DOCKER (2 references)\n\
         target     prot opt source               destination         \n\
         DNAT       tcp  --  0.0.0.0/0            0.0.0.0/0            tcp dpt:8080 to:172.17.0.2:80\n"
    ));
}

/// Rule by rule as Docker 29 writes them for two networks, the second with a published port.
#[test]
fn the_filter_and_raw_tables_of_docker_29() {
    let mut world = World::new(Engine::V29, true);
    world.set(1, network(1));
    world.set(2, network(2));
    world.publish(2, 2, &["0.0.0.0:8080->80", "127.0.0.1:8081->80"]);
    assert_eq!(
        saved(&world, Table::Filter),
        [
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -j DOCKER-FORWARD",
            "-A DOCKER -d 172.18.0.2/32 ! -i br2 -o br2 -p tcp -m tcp --dport 80 -j ACCEPT",
            "-A DOCKER ! -i br1 -o br1 -j DROP",
            "-A DOCKER ! -i br2 -o br2 -j DROP",
            "-A DOCKER-BRIDGE -o br1 -j DOCKER",
            "-A DOCKER-BRIDGE -o br2 -j DOCKER",
            "-A DOCKER-CT -o br1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A DOCKER-CT -o br2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A DOCKER-FORWARD -j DOCKER-CT",
            "-A DOCKER-FORWARD -j DOCKER-INTERNAL",
            "-A DOCKER-FORWARD -j DOCKER-BRIDGE",
            "-A DOCKER-FORWARD -i br1 -j ACCEPT",
            "-A DOCKER-FORWARD -i br2 -j ACCEPT",
        ]
    );
    assert_eq!(
        saved(&world, Table::Raw),
        [
            "-A PREROUTING -d 172.18.0.2/32 ! -i br2 -j DROP",
            "-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8081 -j DROP",
        ]
    );
    assert_eq!(
        saved(&world, Table::Nat),
        [
            "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
            "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
            "-A POSTROUTING -s 172.18.0.0/16 ! -o br2 -j MASQUERADE",
            "-A POSTROUTING -s 172.17.0.0/16 ! -o br1 -j MASQUERADE",
            "-A DOCKER ! -i br2 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80",
            "-A DOCKER -d 127.0.0.1/32 ! -i br2 -p tcp -m tcp --dport 8081 -j DNAT \
             --to-destination 172.18.0.2:80",
        ]
    );
}
