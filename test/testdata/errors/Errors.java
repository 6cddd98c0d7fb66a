import java.net.*;
import java.net.http.*;
import java.time.Duration;

/** Connects to a host and a port in the ways of Java's library, for some seconds at most each, and prints the errors. */
public class Errors {
    interface Way { void go() throws Exception; }

    static void show(Way w) {
        try { w.go(); } catch (Exception e) { System.out.println(e); if (e.getCause() != null) System.out.println(e.getCause()); }
    }

    public static void main(String[] args) {
        String host = args[0];
        int port = Integer.parseInt(args[1]);
        int limit = Integer.parseInt(args[2]) * 1000;
        show(() -> {
            Socket s = new Socket();
            s.connect(new InetSocketAddress(InetAddress.getByName(host), port), limit);
            s.setSoTimeout(limit);
            s.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes());
            s.getInputStream().read();
        });
        show(() -> {
            HttpURLConnection c = (HttpURLConnection) new URL("http://" + host + ":" + port + "/").openConnection();
            c.setConnectTimeout(limit);
            c.setReadTimeout(limit);
            c.getResponseCode();
        });
        show(() -> HttpClient.newBuilder().connectTimeout(Duration.ofMillis(limit)).build()
            .send(HttpRequest.newBuilder(URI.create("http://" + host + ":" + port + "/")).timeout(Duration.ofMillis(limit + 500)).build(), HttpResponse.BodyHandlers.discarding()));
    }
}
