import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Document;

/** root.pem, issuing.pem, messages: prints a line for each, the signer's eHealthID or why it was refused. */
public final class VerifyMessage {
    public static void main(String[] arguments) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
        for (int index = 2; index < arguments.length; index++) {
            try (var in = Files.newInputStream(Path.of(arguments[index]))) {
                Document message = factory.newDocumentBuilder().parse(in);
                X509Certificate signer =
                        WsSecurity.signer(message, Path.of(arguments[0]), Path.of(arguments[1]));
                System.out.println("signed " + MyCertTrust.subject(signer, MyCertTrust.SERIAL_NUMBER).orElse(""));
            } catch (Exception refused) {
                System.out.println("refused " + refused + " " + refused.getCause());
            }
        }
    }
}
