package procinfo

import "slices"

// usual is what commonly serves a port. Programs are command names as the
// kernel keeps them, at most 15 bytes; units are names of services or patterns
// of them as systemctl(1) takes, with "*".
type usual struct {
	programs, units []string
}

var (
	web = usual{
		[]string{"nginx", "apache2", "httpd", "haproxy", "caddy", "traefik", "envoy", "lighttpd"},
		[]string{"nginx.service", "apache2.service", "httpd.service", "haproxy.service", "caddy.service", "traefik.service", "envoy.service", "lighttpd.service"},
	}
	smtp = usual{
		[]string{"master", "exim4", "exim", "sendmail", "sendmail-mta", "smtpd", "opensmtpd"},
		[]string{"postfix.service", "postfix@*.service", "exim4.service", "exim.service", "sendmail.service", "opensmtpd.service"},
	}
	imap = usual{
		[]string{"dovecot", "imapd", "cyrmaster"},
		[]string{"dovecot.service", "cyrus-imapd.service"},
	}
	dns = usual{
		[]string{"named", "unbound", "dnsmasq", "systemd-resolve", "pdns_server", "pdns_recursor", "knotd", "kresd", "coredns", "nsd"},
		[]string{"named.service", "bind9.service", "unbound.service", "dnsmasq.service", "systemd-resolved.service", "pdns.service", "pdns-recursor.service", "knot.service", "kresd@*.service", "coredns.service", "nsd.service"},
	}
	mysql = usual{
		[]string{"mysqld", "mariadbd"},
		[]string{"mysql.service", "mysqld.service", "mariadb.service", "mariadb@*.service", "mysql@*.service"},
	}
	ldap = usual{
		[]string{"slapd", "ns-slapd", "samba"},
		[]string{"slapd.service", "dirsrv@*.service", "samba-ad-dc.service"},
	}
	smb = usual{[]string{"smbd"}, []string{"smbd.service", "smb.service"}}
)

var usuals = map[uint16]usual{
	21:    {[]string{"vsftpd", "proftpd", "pure-ftpd"}, []string{"vsftpd.service", "proftpd.service", "pure-ftpd.service"}},
	22:    {[]string{"sshd", "dropbear"}, []string{"ssh.service", "sshd.service", "ssh.socket", "dropbear.service"}},
	25:    smtp,
	53:    dns,
	80:    web,
	88:    {[]string{"krb5kdc", "samba"}, []string{"krb5-kdc.service", "krb5kdc.service", "samba-ad-dc.service"}},
	110:   imap,
	111:   {[]string{"rpcbind"}, []string{"rpcbind.service", "rpcbind.socket"}},
	139:   smb,
	143:   imap,
	389:   ldap,
	443:   web,
	445:   smb,
	465:   smtp,
	587:   smtp,
	631:   {[]string{"cupsd"}, []string{"cups.service", "cups.socket"}},
	636:   ldap,
	853:   dns,
	873:   {[]string{"rsync"}, []string{"rsync.service", "rsyncd.service"}},
	993:   imap,
	995:   imap,
	1883:  {[]string{"mosquitto"}, []string{"mosquitto.service"}},
	2049:  {nil, []string{"nfs-server.service", "nfs-kernel-server.service"}}, // the kernel's own
	2379:  {[]string{"etcd"}, []string{"etcd.service"}},
	3000:  {[]string{"grafana", "grafana-server"}, []string{"grafana-server.service"}},
	3128:  {[]string{"squid"}, []string{"squid.service"}},
	3306:  mysql,
	3389:  {[]string{"xrdp"}, []string{"xrdp.service"}},
	4222:  {[]string{"nats-server"}, []string{"nats-server.service", "nats.service"}},
	5432:  {[]string{"postgres"}, []string{"postgresql.service", "postgresql@*.service", "postgresql-*.service"}},
	5671:  {[]string{"beam.smp"}, []string{"rabbitmq-server.service"}},
	5672:  {[]string{"beam.smp"}, []string{"rabbitmq-server.service"}},
	6379:  {[]string{"redis-server", "valkey-server"}, []string{"redis-server.service", "redis.service", "redis-server@*.service", "redis@*.service", "valkey.service", "valkey-server.service"}},
	6432:  {[]string{"pgbouncer"}, []string{"pgbouncer.service"}},
	6443:  {[]string{"kube-apiserver", "k3s-server"}, []string{"kubelet.service", "k3s.service"}},
	8080:  web,
	8443:  web,
	9000:  {[]string{"minio"}, []string{"minio.service"}},
	9042:  {nil, []string{"cassandra.service", "scylla-server.service"}},
	9090:  {[]string{"prometheus"}, []string{"prometheus.service", "cockpit.socket"}},
	9092:  {nil, []string{"kafka.service"}},
	9100:  {[]string{"node_exporter", "prometheus-node"}, []string{"node_exporter.service", "prometheus-node-exporter.service"}},
	9200:  {nil, []string{"elasticsearch.service", "opensearch.service"}},
	10250: {[]string{"kubelet"}, []string{"kubelet.service"}},
	11211: {[]string{"memcached"}, []string{"memcached.service", "memcached@*.service"}},
	27017: {[]string{"mongod", "mongos"}, []string{"mongod.service", "mongodb.service", "mongos.service"}},
}

// UsualPrograms lists the command names of programs that commonly listen on a
// TCP port, likeliest first; none for a port without a common use. A program
// that runs on an interpreter or a virtual machine has no name of its own and
// is missing. The ports are those of IANA's registry and of the programs'
// default configuration.
func UsualPrograms(port uint16) []string { return slices.Clone(usuals[port].programs) }

// UsualUnits lists the systemd units that commonly serve a TCP port, as names
// or as patterns with "*" (path.Match understands them), likeliest first.
func UsualUnits(port uint16) []string { return slices.Clone(usuals[port].units) }
