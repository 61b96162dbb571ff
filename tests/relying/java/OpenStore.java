import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.util.Collections;

/** Opens a PKCS#12 file as a vendor's software does: prints the alias, the chain's length, and tries the key. */
public final class OpenStore {
    public static void main(String[] arguments) throws Exception {
        char[] password = new String(Files.readAllBytes(Path.of(arguments[1]))).trim().toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            store.load(file, password);
        }
        String alias = Collections.list(store.aliases()).get(0);
        PrivateKey key = (PrivateKey) store.getKey(alias, password);
        Certificate[] chain = store.getCertificateChain(alias);
        String algorithm = key.getAlgorithm().equals("RSA") ? "SHA256withRSA" : "SHA256withECDSA";
        Signature signature = Signature.getInstance(algorithm);
        signature.initSign(key);
        signature.update(arguments[0].getBytes());
        byte[] signed = signature.sign();
        signature.initVerify(chain[0].getPublicKey());
        signature.update(arguments[0].getBytes());
        System.out.println(alias + " " + chain.length + " " + signature.verify(signed));
    }

    private OpenStore() {}
}
