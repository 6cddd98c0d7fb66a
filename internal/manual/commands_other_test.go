package manual

import (
	"slices"
	"strings"
	"testing"
)

// programs are what commands for systems other than Linux may call, with the
// flags that their documentation names: a flag that ends with a colon or an
// equals sign takes its value in the same word. Sources: the man pages of macOS,
// the references of PowerShell, Windows commands and az by Microsoft, and the help
// of the clients themselves (docker 28, kubectl 1.32, aws 1.45, gcloud 528).
var programs = map[string]map[string]string{
	"macos": {
		"/usr/libexec/ApplicationFirewall/socketfilterfw": "--getglobalstate --listapps",
		"arp":                   "-n -d",
		"brew services restart": "",
		"brew services start":   "",
		"brew services stop":    "",
		"curl":                  "-v -so -m -w",
		"dig":                   "",
		"docker ps":             "",
		"dscacheutil":           "-q -a",
		"grep":                  "-nwF",
		"ifconfig":              "-a",
		"killall":               "-HUP",
		"launchctl kickstart":   "-k",
		"launchctl limit":       "",
		"launchctl list":        "",
		"launchctl print":       "",
		"lsof":                  "-nP -iTCP: -iTCP -sTCP: -a -p",
		"netstat":               "-Lan -an -d -i -n -p -rn -f",
		"networksetup":          "-setdnsservers",
		"openssl s_client":      "-connect -servername",
		"pfctl":                 "-s",
		"ping":                  "-c -D -s",
		"route":                 "-n",
		"scutil":                "--dns",
		"sysctl":                "",
		"tcpdump":               "-i -nn -v -w",
		"traceroute":            "-n -e -I -P -p",
	},
	"windows": {
		"Clear-DnsClientCache":             "",
		"Disable-NetAdapter":               "-Name",
		"Disable-NetAdapterBinding":        "-Name -ComponentID",
		"Disable-NetFirewallRule":          "-DisplayName",
		"Enable-NetAdapter":                "-Name",
		"Enable-NetAdapterBinding":         "-Name -ComponentID",
		"Enable-NetFirewallRule":           "-DisplayName",
		"Find-NetRoute":                    "-RemoteIPAddress",
		"Get-Content":                      "",
		"Get-DnsClientGlobalSetting":       "",
		"Get-DnsClientServerAddress":       "",
		"Get-NetAdapter":                   "",
		"Get-NetAdapterBinding":            "-Name -ComponentID",
		"Get-NetAdapterStatistics":         "",
		"Get-NetFirewallPortFilter":        "-Protocol",
		"Get-NetFirewallProfile":           "",
		"Get-NetFirewallRule":              "-Enabled -Direction -Action",
		"Get-NetIPAddress":                 "-AddressState -IPAddress",
		"Get-NetIPv4Protocol":              "",
		"Get-NetNeighbor":                  "-IPAddress",
		"Get-NetRoute":                     "-DestinationPrefix",
		"Get-NetTCPConnection":             "-State -LocalPort -RemotePort",
		"Get-NetTCPSetting":                "",
		"Get-Process":                      "-Id",
		"Get-Service":                      "-Name",
		"Get-WinEvent":                     "-LogName -MaxEvents",
		"Measure-Command":                  "-Name -DnsOnly",
		"New-NetFirewallRule":              "-DisplayName -Direction -Protocol -LocalPort -Action",
		"New-NetIPAddress":                 "-IPAddress -InterfaceAlias -PrefixLength",
		"New-NetRoute":                     "-DestinationPrefix -InterfaceAlias -NextHop",
		"Remove-NetFirewallRule":           "-DisplayName",
		"Remove-NetIPAddress":              "-IPAddress",
		"Remove-NetNeighbor":               "-IPAddress",
		"Remove-NetRoute":                  "-DestinationPrefix -NextHop",
		"Resolve-DnsName":                  "-Name -Server -DnsOnly -DnssecCd -Type -TcpOnly -NoHostsFile",
		"Restart-Service":                  "-Name",
		"Set-DnsClientServerAddress":       "-InterfaceAlias -ServerAddresses -ResetServerAddresses",
		"Set-NetIPv4Protocol":              "-DefaultHopLimit",
		"Set-NetTCPSetting":                "-EcnCapability -SettingName",
		"Start-Service":                    "-Name",
		"Stop-Process":                     "-Id",
		"Stop-Service":                     "-Name",
		"Test-NetConnection":               "-ComputerName -Port",
		"Where-Object":                     "-eq",
		"curl.exe":                         "-v",
		"docker ps":                        "",
		"netsh int ipv4 set dynamicport":   "",
		"netsh interface ipv4 show":        "",
		"netsh interface portproxy delete": "",
		"netsh interface portproxy show":   "",
		"netsh interface tcp show":         "",
		"netstat":                          "-ano -p",
		"pathping":                         "-n",
		"ping":                             "-f -l -n",
		"pktmon etl2pcap":                  "",
		"pktmon filter add":                "-p",
		"pktmon start":                     "--capture",
		"pktmon stop":                      "",
		"tracert":                          "-d",
	},
	"docker": {
		"docker inspect":         "",
		"docker logs":            "--tail",
		"docker network connect": "",
		"docker network create":  "",
		"docker network inspect": "",
		"docker port":            "",
		"docker ps":              "--all --filter",
		"docker run":             "-d -p",
		"docker update":          "--restart",
	},
	"kubernetes": {
		"kubectl debug":        "-it --image --target",
		"kubectl describe":     "",
		"kubectl get":          "-l -o --all-namespaces --namespace",
		"kubectl logs":         "--previous",
		"kubectl port-forward": "",
		"kubectl rollout undo": "",
		"kubectl run":          "--rm -it --restart --image",
	},
	"aws": {
		"aws ec2 authorize-security-group-ingress": "--group-id --protocol --port --cidr",
		"aws ec2 describe-network-acls":            "--filters",
		"aws ec2 describe-route-tables":            "--filters",
		"aws ec2 describe-security-groups":         "--group-ids",
		"aws ec2 revoke-security-group-ingress":    "--group-id --protocol --port --cidr",
	},
	"azure": {
		"az network nic list-effective-nsg": "--resource-group --name",
		"az network nsg rule create":        "-g --nsg-name -n --priority --protocol --destination-port-ranges",
		"az network nsg rule delete":        "--resource-group --nsg-name --name",
		"az network nsg rule list":          "--resource-group --nsg-name --output",
	},
	"gcp": {
		"gcloud compute firewall-rules create":                                "--network --allow --source-ranges",
		"gcloud compute firewall-rules delete":                                "",
		"gcloud compute firewall-rules list":                                  "--filter",
		"gcloud compute instances network-interfaces get-effective-firewalls": "--zone",
	},
}

func TestCommandsOfOtherSystems(t *testing.T) {
	used := make(map[string]bool)
	everyCommand(t, func(page, os, command string) {
		known, ok := programs[os]
		if os == "linux" || os == "any" {
			return
		}
		if !ok {
			t.Errorf("%s: no programs are known for %s: %s", page, os, command)
			return
		}
		for part := range strings.SplitSeq(command, " | ") {
			name, rest := longest(part, known)
			if name == "" {
				t.Errorf("%s: %s: no known program: %s", page, os, part)
				continue
			}
			used[os+" "+name] = true
			flags := strings.Fields(known[name])
			for w := range strings.FieldsSeq(unquoted(rest)) {
				isFlag := strings.HasPrefix(w, "-") && len(w) > 1 && w != "--" || os == "windows" && strings.HasPrefix(w, "/")
				if isFlag && !slices.ContainsFunc(flags, func(f string) bool {
					return w == f || strings.HasSuffix(f, ":") && strings.HasPrefix(w, f) || strings.HasPrefix(w, f+"=")
				}) {
					t.Errorf("%s: %s: %s has no known flag %s", page, os, name, w)
				}
			}
		}
	})
	for os, known := range programs {
		for name := range known {
			if !used[os+" "+name] {
				t.Errorf("no page uses %s on %s", name, os)
			}
		}
	}
}

// longest finds the longest known name that a command begins with.
func longest(command string, known map[string]string) (name, rest string) {
	for k := range known {
		if r, ok := strings.CutPrefix(command+" ", k+" "); ok && len(k) > len(name) {
			name, rest = k, r
		}
	}
	return name, rest
}

// unquoted drops what is inside single quotes.
func unquoted(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "'") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}
