//! Legacy links when the other side is made anew: a link means the container that was there, not its name.
//!
//! After moby: `linkIndex` holds containers, not names, and forgets one that is removed
//! (`daemon/links.go`); the line in `/etc/hosts` is written when the container starts, and again when a
//! container that it means starts (`buildSandboxOptions`), so nobody writes it again; and the opening in
//! the filter goes with the endpoint (`link` of the bridge driver).

use core::net::IpAddr;
use core::time::Duration;

use emulator_core::docker::spec::Engine;
use emulator_core::lab::probe::{Answer, Question};
use vethlab::assigned::{engine, machine};
use vethlab::model::{End, Model, Reach, Transport};
use vethlab::world::{Options, World};

const TEXT: &str = "name: p
services:
  db: {image: probe, network_mode: bridge, hostname: db.example, expose: ['100'], x-vethlab: {listen: [100]}}
  web: {image: probe, network_mode: bridge, links: ['db:store']}
";

/// What `store` and other names of it are to `web`, by packets and by the model, which have to agree; and
/// whether port 100 of `to` is open.
fn seen(world: &mut World<'_>, to: IpAddr) -> (Vec<IpAddr>, bool) {
    let (project, _) = world.first().unwrap();
    let web = world.lab.namespace("p-web-1").unwrap();
    let (assigned, machine) = (world.assigned(), machine(&world.lab));
    let model = Model::new(&[project], &assigned, engine(&world.lab), &machine);
    let end = End::Container("p-web-1".into());
    let found = world.lab.lookup(web, "store");
    for name in ["store", "p-db-1", "db.example", "db-1"] {
        assert_eq!(world.lab.lookup(web, name), found, "{name}");
        assert_eq!(model.resolve(&end, name), found, "{name} by the model");
    }
    let outcome = model.reach(&end, (to, 100).into(), Transport::Tcp);
    let question = Question::Tcp((to, 100).into(), b"");
    let answer = world.lab.probe(web, &question, Duration::from_secs(5));
    let open = matches!(answer, Answer::Open(_));
    assert_eq!(outcome.reach == Reach::Open, open, "{outcome:?} {answer:?}");
    (found, open)
}

#[test]
fn a_link_stays_with_the_container_that_it_means() {
    for engine in [Engine::V20_10, Engine::V29] {
        let project = emulator_compose::load_str(TEXT).unwrap();
        let mut options = Options::new(1, engine);
        options.daemon.icc = false;
        let mut world = World::with(&project, &options).unwrap();
        let [old, _, new] = [2, 3, 4].map(|last| IpAddr::from([172, 17, 0, last]));
        assert_eq!(seen(&mut world, old), (vec![old], true));

        // Also when the new one gets the old one's address: then the name is right by chance.
        world.recreate(&project, "db", false);
        assert_eq!(seen(&mut world, old), (vec![old], false));
        world.recreate(&project, "db", true);
        assert_eq!(seen(&mut world, new), (vec![old], false));

        // Who is made anew himself is linked to who is there then.
        world.recreate(&project, "web", false);
        assert_eq!(seen(&mut world, new), (vec![new], true));
        world.down(&project, "db");
        assert_eq!(seen(&mut world, new), (vec![new], false));
    }
}
