# Connects to a host and a port in the ways of Perl and prints the errors.
use strict;
use IO::Socket::INET;
use HTTP::Tiny;
my ($host, $port, $limit) = @ARGV;
IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => $limit) or print "$@\n";
my $r = HTTP::Tiny->new(timeout => $limit)->get("http://$host:$port/");
print $r->{content}, "\n" unless $r->{success};
