// Connects to a host and a port in the ways of Node.js and prints the errors.
// A socket that is destroyed at a time limit of ours says nothing.
const net = require('net'), http = require('http');
const [host, port, limit] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4]) * 1000];
const socket = net.connect(port, host, () => socket.write('GET / HTTP/1.0\r\n\r\n'));
socket.setTimeout(limit, () => socket.destroy());
socket.on('error', e => console.log(String(e)));
const request = http.get({ host, port }, () => {});
request.on('error', e => console.log(String(e)));
setTimeout(() => process.exit(), limit + 500).unref();
fetch(`http://${host}:${port}/`, { signal: AbortSignal.timeout(limit) }).catch(e => console.log(`${e} ${e.cause}`));
