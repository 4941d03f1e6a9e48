//! Docker's verbs on the Lab: the model does the bookkeeping, here the programs of containers begin and end.
//!
//! An image is what it listens on. `busybox`, `alpine`, `ubuntu` and `netshoot` run the command that they
//! are given; `http`, `httpd` and `nginx` are a web server on port 80; any other image listens on the
//! ports that the container declares, and says who called. A container may be given other sockets to listen on
//! instead ([`ContainerSpec::listens`]).

use std::collections::BTreeMap;

use core::net::IpAddr;
use core::time::Duration;
use dns::resolver::{Config, UpstreamFrom};
use dns::{Resolver, SandboxKey};
use ipnet::IpNet;
use switch::Rng;

use super::plumbing::{Hands, NamesIn, profile};
use super::{Lab, StandIns};
use crate::app::App;
use crate::docker::container::Container;
use crate::docker::plumb::Published;
use crate::docker::spec::{ContainerSpec, EndpointSpec, Listening, NetworkSpec, Port, Proto};
use crate::docker::verbs::list::NetworkFilters;
use crate::docker::{Created, Docker, Error, World};
use crate::id::{AppId, NsId};
use crate::service::dns::DnsService;
use crate::tools::getent::Getent;
use crate::tools::probe::Probe;
use crate::tools::stand_in::StandIn;
use crate::tools::web::Web;
use crate::tools::{self, Libc};

/// How long a name may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// What stands for a program of which only the ports are known.
fn stand_in(what: StandIns, container: &str, listens: Vec<Listening>) -> Box<dyn App> {
    match what {
        StandIns::Tell => Box::new(Probe::on(listens)),
        StandIns::Serve => Box::new(StandIn::new(container, listens)),
    }
}

/// What runs in the containers' namespaces, and whose they are.
#[derive(Debug, Default)]
pub struct Sandboxes {
    /// The container that owns each namespace.
    owners: BTreeMap<NsId, u32>,
    /// The embedded DNS servers, those that nobody has asked yet as well.
    resolvers: BTreeMap<NsId, AppId>,
    /// The main program of each container that has one.
    mains: BTreeMap<u32, AppId>,
    /// All that the image of each container started, the main program too.
    programs: BTreeMap<u32, Vec<AppId>>,
}

impl Sandboxes {
    pub(crate) fn hostname(&self, ns: NsId, docker: &Docker) -> String {
        match self.owner(ns, docker) {
            Some(container) => container.hostname.clone(),
            None => docker.config().hostname.clone(),
        }
    }

    fn owner<'a>(&self, ns: NsId, docker: &'a Docker) -> Option<&'a Container> {
        docker.container_by_key(*self.owners.get(&ns)?)
    }

    /// The number of a namespace's embedded DNS, if it has one.
    pub(crate) fn resolver(&self, ns: NsId) -> Option<AppId> {
        self.resolvers.get(&ns).copied()
    }

    /// The embedded DNS of a container's own namespace, as its networks are now.
    pub(crate) fn dns_service(&self, ns: NsId, docker: &Docker, rng: &Rng) -> Option<DnsService> {
        let container = self.owner(ns, docker)?;
        let settings = settings(docker, container)?;
        let rng = rng.stream_of(&["dns:", &container.key.to_string()]);
        let resolver = Resolver::new(SandboxKey(container.key), settings);
        Some(DnsService::new(resolver, docker.config().host_ns, rng))
    }

    pub(crate) fn file(&self, ns: NsId, path: &str, docker: &Docker) -> Option<String> {
        let Some(container) = self.owner(ns, docker) else {
            return match path {
                "/etc/hosts" => Some(docker.config().hosts.clone()),
                "/etc/resolv.conf" => Some(docker.config().resolv_conf.clone()),
                "/etc/hostname" => Some(format!("{}\n", docker.config().hostname)),
                _ => None,
            };
        };
        match path {
            "/etc/hosts" => docker.hosts_file(&container.id).ok(),
            "/etc/resolv.conf" => docker.resolv_conf(&container.id).ok().map(str::to_owned),
            "/etc/hostname" => Some(format!("{}\n", container.hostname)),
            _ => None,
        }
    }
}

/// What an image is, as far as its network goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    /// Listens on the ports that the container declares.
    Service,
    /// Runs the command that it is given.
    Shell,
    /// A web server on port 80, besides the ports that the container declares.
    Web,
}

impl Image {
    fn of(image: &str) -> Self {
        match image_name(image) {
            "alpine" | "busybox" | "netshoot" | "ubuntu" => Self::Shell,
            "http" | "httpd" | "nginx" => Self::Web,
            _ => Self::Service,
        }
    }
}

/// An image's name without registry, folder, tag and digest.
fn image_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

/// What an image runs if it is not told: the first process that `ps` shows.
#[must_use]
pub fn default_command(image: &str) -> Vec<String> {
    let words: &[&str] = match image_name(image) {
        "alpine" => &["/bin/sh"],
        "busybox" => &["sh"],
        "netshoot" => &["zsh"],
        "ubuntu" => &["/bin/bash"],
        "http" | "httpd" => &["httpd-foreground"],
        "nginx" => &["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"],
        _ => &["/entrypoint"],
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

impl Lab {
    /// Calls the model with the lab's hands.
    fn model<T>(&mut self, act: impl FnOnce(&mut Docker, &mut World<'_>) -> T) -> T {
        let now = self.net.now();
        let mut hands = Hands {
            net: &mut self.net,
            apps: &mut self.apps,
            state: &mut self.plumbing,
        };
        let mut names = NamesIn {
            zones: &mut self.zones,
            engine: self.docker.engine(),
        };
        let mut world = World {
            plumb: &mut hands,
            names: &mut names,
            now,
        };
        act(&mut self.docker, &mut world)
    }

    /// Brings a container's resolver in line with its networks.
    fn sync(&mut self, container: &str) {
        let Ok(container) = self.docker.container(container) else {
            return;
        };
        let (Some(ns), None) = (container.ns, container.joined) else {
            return;
        };
        if ns == self.places.host {
            return;
        }
        self.sandboxes.owners.insert(ns, container.key);
        let Some(app) = self.sandboxes.resolvers.get(&ns) else {
            if self.docker.has_resolver(container) {
                let app = self.apps.reserve();
                self.sandboxes.resolvers.insert(ns, app);
            }
            return;
        };
        if let Some(service) = self.apps.dns_mut(*app)
            && let Some(settings) = settings(&self.docker, container)
            && *service.resolver.config() != settings
        {
            service.resolver.configure(settings);
        }
    }

    /// Forgets what belonged to a namespace that a verb took away.
    fn forget(&mut self, ns: Option<NsId>) {
        if let Some(ns) = ns.filter(|ns| self.net.ns(*ns).is_none()) {
            self.sandboxes.owners.remove(&ns);
            self.sandboxes.resolvers.remove(&ns);
        }
    }

    /// A verb that may take a container's namespace away.
    fn ending<T>(
        &mut self,
        container: &str,
        act: impl FnOnce(&mut Docker, &mut World<'_>) -> T,
    ) -> T {
        let ns = self.namespace(container);
        let result = self.model(act);
        self.forget(ns);
        result
    }

    /// `docker network create`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_create(&mut self, spec: NetworkSpec) -> Result<Created, Error> {
        self.model(|docker, world| docker.network_create(world, spec))
    }

    /// `docker network connect`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_connect(
        &mut self,
        network: &str,
        container: &str,
        spec: EndpointSpec,
    ) -> Result<(), Error> {
        let connected =
            self.model(|docker, world| docker.network_connect(world, network, container, spec));
        self.sync(container);
        connected
    }

    /// `docker network disconnect`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_disconnect(
        &mut self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), Error> {
        let gone =
            self.model(|docker, world| docker.network_disconnect(world, network, container, force));
        self.sync(container);
        gone
    }

    /// `docker network rm`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_remove(&mut self, network: &str) -> Result<(), Error> {
        self.model(|docker, world| docker.network_remove(world, network))
    }

    /// `docker network prune`: the names of what went.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_prune(&mut self, filters: &NetworkFilters) -> Result<Vec<String>, Error> {
        self.model(|docker, world| docker.network_prune(world, filters))
    }

    /// `docker create`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn create(&mut self, spec: ContainerSpec) -> Result<Created, Error> {
        self.model(|docker, world| docker.create(world, spec))
    }

    /// `docker start`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn start(&mut self, container: &str) -> Result<(), Error> {
        self.model(|docker, world| docker.start(world, container))?;
        self.sync(container);
        self.begin(container);
        Ok(())
    }

    /// The exit code of a container that is asked to end: a shell or a sleep has to be killed.
    fn stop_code(&self, container: &str) -> i32 {
        if self.main_program(container).is_some() {
            0
        } else {
            137
        }
    }

    /// `docker stop`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn stop(&mut self, container: &str) -> Result<(), Error> {
        let code = self.stop_code(container);
        self.end(container);
        self.ending(container, |docker, world| {
            docker.stop(world, container, code)
        })
    }

    /// `docker kill`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn kill(&mut self, container: &str) -> Result<(), Error> {
        self.end(container);
        self.ending(container, |docker, world| docker.kill(world, container))
    }

    /// `docker restart`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn restart(&mut self, container: &str) -> Result<(), Error> {
        let code = self.stop_code(container);
        self.end(container);
        self.ending(container, |docker, world| {
            docker.restart(world, container, code)
        })?;
        self.sync(container);
        self.begin(container);
        Ok(())
    }

    /// `docker pause`. Its programs are held; its stack still answers pings, as the kernel's does.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn pause(&mut self, container: &str) -> Result<(), Error> {
        self.docker.pause(container)?;
        if let Some(ns) = self.namespace(container) {
            let held = self.processes(container, ns);
            self.apps.hold(&mut self.net, &held, true);
        }
        Ok(())
    }

    /// `docker unpause`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn unpause(&mut self, container: &str) -> Result<(), Error> {
        self.docker.unpause(container)?;
        if let Some(ns) = self.namespace(container) {
            let held = self.processes(container, ns);
            self.apps.hold(&mut self.net, &held, false);
        }
        Ok(())
    }

    /// `docker rename`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn rename(&mut self, container: &str, name: &str) -> Result<(), Error> {
        self.model(|docker, world| docker.rename(world, container, name))
    }

    /// `docker rm`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn remove(&mut self, container: &str, force: bool) -> Result<(), Error> {
        if force {
            self.end(container);
        }
        self.ending(container, |docker, world| {
            docker.remove(world, container, force)
        })
    }

    /// Starts what the container's image and command say.
    fn begin(&mut self, container: &str) {
        let Ok(container) = self.docker.container(container) else {
            return;
        };
        let (Some(ns), true) = (container.ns, self.run_images) else {
            return;
        };
        if let Some(listens) = &container.spec.listens {
            let (key, listens) = (container.key, listens.clone());
            if !listens.is_empty() {
                let app = stand_in(self.stand_ins, &container.name, listens);
                let app = self.apps.spawn(&mut self.net, ns, app);
                self.sandboxes.programs.entry(key).or_default().push(app);
            }
            return;
        }
        let (key, command, exposed) = (
            container.key,
            container.spec.command.clone(),
            container.exposed(),
        );
        let image = Image::of(&container.spec.image);
        let main: Option<Box<dyn App>> = match image {
            // A command that is no tool of ours (a shell, a loop in one) waits to be stopped.
            Image::Shell if command.is_empty() => None,
            Image::Shell => tools::spawn(&command).ok(),
            Image::Web => Some(Box::new(Web::new(80))),
            Image::Service => None,
        };
        if let Some(main) = main {
            let app = self.apps.spawn(&mut self.net, ns, main);
            self.sandboxes.mains.insert(key, app);
            self.sandboxes.programs.entry(key).or_default().push(app);
        }
        if image == Image::Shell {
            return;
        }
        let taken =
            |port: &Port| image == Image::Web && port.number == 80 && port.proto == Proto::Tcp;
        let ports = |proto: Proto| {
            let declared = exposed.iter();
            declared.filter(move |port| port.proto == proto && !taken(port))
        };
        let listens: Vec<Listening> = ports(Proto::Tcp)
            .chain(ports(Proto::Udp))
            .map(|&port| Listening {
                address: None,
                port,
            })
            .collect();
        if !listens.is_empty() {
            let app = stand_in(self.stand_ins, &container.name, listens);
            let app = self.apps.spawn(&mut self.net, ns, app);
            self.sandboxes.programs.entry(key).or_default().push(app);
        }
    }

    /// Ends the programs of a container that does not own its namespace; the others go with theirs.
    fn end(&mut self, container: &str) {
        let Ok(container) = self.docker.container(container) else {
            return;
        };
        self.sandboxes.mains.remove(&container.key);
        for app in self
            .sandboxes
            .programs
            .remove(&container.key)
            .into_iter()
            .flatten()
        {
            self.apps.kill(&mut self.net, app);
        }
    }

    /// What runs in a container: everything in its namespace, or only what its image started where the
    /// namespace is not its alone.
    fn processes(&self, container: &str, ns: NsId) -> Vec<AppId> {
        let key = self.docker.container(container).map(|found| found.key).ok();
        let alone = ns != self.places.host
            && self
                .docker
                .containers()
                .all(|other| Some(other.key) == key || other.ns != Some(ns));
        if alone {
            return self.apps.running(ns).map(|(app, _)| app).collect();
        }
        let programs = key.and_then(|key| self.sandboxes.programs.get(&key));
        programs.cloned().unwrap_or_default()
    }

    /// The first process of a container has ended with `code`: the container stops, and goes if it was
    /// made with `--rm`.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn ended(&mut self, container: &str, code: u8) -> Result<(), Error> {
        self.end(container);
        self.ending(container, |docker, world| {
            docker.stop(world, container, code.into())
        })
    }

    /// The main program of a container, if it runs one.
    #[must_use]
    pub fn main_program(&self, container: &str) -> Option<AppId> {
        self.sandboxes
            .mains
            .get(&self.docker.container(container).ok()?.key)
            .copied()
    }

    /// Everything that the image of a container started, its main program among it.
    #[must_use]
    pub fn programs(&self, container: &str) -> &[AppId] {
        let container = self.docker.container(container).ok();
        container
            .and_then(|container| self.sandboxes.programs.get(&container.key))
            .map_or(&[], Vec::as_slice)
    }

    /// Docker's model, to look at: `ls`, `ps`, `inspect`, `port`.
    #[must_use]
    pub const fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The namespace of a running container.
    #[must_use]
    pub fn namespace(&self, container: &str) -> Option<NsId> {
        self.docker.namespace_of(container).ok()
    }

    /// A container's full id.
    #[must_use]
    pub fn container_id(&self, container: &str) -> Option<String> {
        self.docker
            .container(container)
            .ok()
            .map(|container| container.id.as_ref().to_owned())
    }

    /// A network's full id.
    #[must_use]
    pub fn network_id(&self, network: &str) -> Option<String> {
        self.docker
            .network(network)
            .ok()
            .map(|network| network.id.as_ref().to_owned())
    }

    /// The published ports of a container as they were allocated.
    #[must_use]
    pub fn published(&self, container: &str) -> Vec<Published> {
        self.docker.port(container).unwrap_or_default()
    }

    /// The networks of a container and the address of each one's gateway.
    #[must_use]
    pub fn gateways(&self, container: &str) -> Vec<(String, IpAddr)> {
        let Ok(container) = self.docker.container(container) else {
            return Vec::new();
        };
        let mut gateways = Vec::new();
        for endpoint in container.endpoints() {
            let Ok(network) = self.docker.network(&endpoint.network_name) else {
                continue;
            };
            for v6 in [false, true] {
                if let Some(gateway) = network.gateway(v6) {
                    gateways.push((network.name().to_owned(), gateway));
                }
            }
        }
        gateways
    }

    /// The network of a container in whose subnet an address is.
    #[must_use]
    pub fn network_of(&self, container: &str, address: IpAddr) -> Option<String> {
        let container = self.docker.container(container).ok()?;
        container
            .endpoints()
            .find(|endpoint| {
                endpoint
                    .addresses()
                    .any(|own: IpNet| own.contains(&address))
            })
            .map(|endpoint| endpoint.network_name.clone())
    }

    /// The addresses of the host on its uplink, then those on its other interfaces, bridges and link-local ones
    /// left out.
    #[must_use]
    pub fn host_addresses(&self) -> Vec<IpAddr> {
        let Some(host) = self.net.ns(self.places.host) else {
            return Vec::new();
        };
        let own = core::iter::once(self.places.uplink).chain(self.places.others.iter().copied());
        own.filter_map(|iface| host.iface(iface))
            .flat_map(|iface| iface.addrs.iter().map(|address| address.net.addr()))
            .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .collect()
    }
}

/// What the embedded DNS of a running container goes by; `None` if its networks have none.
fn settings(docker: &Docker, container: &Container) -> Option<Config> {
    let config = docker.dns_config(&container.id).ok()?;
    config.resolver.then(|| Config {
        profile: profile(docker.engine()),
        upstreams: config.upstreams.iter().map(upstream).collect(),
        ndots_set: config.ndots_set,
        external_access: config.external_access,
    })
}

fn upstream(upstream: &crate::docker::resolv::Upstream) -> dns::Upstream {
    dns::Upstream {
        address: upstream.addr,
        from: if upstream.from_host {
            UpstreamFrom::Host
        } else {
            UpstreamFrom::Container
        },
    }
}

impl Lab {
    /// What a program in `ns` gets from `getaddrinfo`: `/etc/hosts` first, then its resolvers, IPv4 and IPv6.
    /// Empty if the name does not resolve within ten seconds of virtual time.
    pub fn lookup(&mut self, ns: NsId, name: &str) -> Vec<IpAddr> {
        let app = self.spawn(ns, Box::new(Getent::new(name.to_owned(), Libc::Glibc)));
        self.run_app_for(app, LOOKUP_LIMIT);
        let out = self.take_output(app);
        self.end_app(app);
        out.iter()
            .flat_map(|(_, text)| text.lines())
            .filter_map(|line| line.parse().ok())
            .collect()
    }
}
