import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsExchange;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.X509Certificate;
import java.util.EnumSet;
import java.util.concurrent.Executors;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;

/** port, server.p12, root.pem, ocsp or crl, seconds that sessions live: an HTTPS server that wants a store. */
public final class RelyingServer {
    public static void main(String[] arguments) throws Exception {
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(Files.newInputStream(Path.of(arguments[1])), "server".toCharArray());
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(own, "server".toCharArray());
        EnumSet<Option> options = arguments[3].equals("ocsp") ? MyCertTrust.byOcsp() : MyCertTrust.byCrl();
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), MyCertTrust.managers(Path.of(arguments[2]), options), null);
        context.getServerSessionContext().setSessionTimeout(Integer.parseInt(arguments[4]));
        InetSocketAddress address = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        HttpsServer server = HttpsServer.create(address, 0);
        server.setHttpsConfigurator(
                new HttpsConfigurator(context) {
                    @Override
                    public void configure(HttpsParameters parameters) {
                        SSLParameters wanted = context.getDefaultSSLParameters();
                        wanted.setNeedClientAuth(true);
                        parameters.setSSLParameters(wanted);
                    }
                });
        server.createContext("/", exchange -> answer((HttpsExchange) exchange));
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }

    private static void answer(HttpsExchange exchange) throws java.io.IOException {
        try (exchange) {
            X509Certificate holder = (X509Certificate) exchange.getSSLSession().getPeerCertificates()[0];
            String body =
                    String.format(
                            "{\"x-ehealthid\": \"%s\", \"x-profession\": \"%s\"}",
                            MyCertTrust.subject(holder, MyCertTrust.SERIAL_NUMBER).orElse(""),
                            MyCertTrust.subject(holder, MyCertTrust.TITLE).orElse(""));
            byte[] octets = body.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, octets.length);
            exchange.getResponseBody().write(octets);
        } catch (javax.naming.InvalidNameException refused) {
            throw new java.io.IOException(refused);
        }
    }
}
