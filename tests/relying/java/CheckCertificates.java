import java.nio.file.Path;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.List;

/** root.pem, issuing.pem, certificates: a line for each, by OCSP. The two lines in the middle stand in clients.md. */
public final class CheckCertificates {
    public static void main(String[] arguments) throws Exception {
        Path root = Path.of(arguments[0]);
        X509Certificate issuing = MyCertTrust.read(Path.of(arguments[1]));
        for (int index = 2; index < arguments.length; index++) {
            X509Certificate holder = MyCertTrust.read(Path.of(arguments[index]));
            try {
                CertPath path = CertificateFactory.getInstance("X.509").generateCertPath(List.of(holder, issuing));
                CertPathValidator.getInstance("PKIX").validate(path, MyCertTrust.parameters(root, MyCertTrust.byOcsp()));
                System.out.println("accepted");
            } catch (java.security.cert.CertPathValidatorException refused) {
                System.out.println(refused.getMessage());
            }
        }
    }
}
