import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;

/** A broker that makes all messages persistent. */
final class ForcedPersistence extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").elements("""
                <plugins><forcePersistencyModeBrokerPlugin persistenceFlag="true"/></plugins>""");
    }

    @Test
    void what_is_sent_without_persistence_survives() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("kept"));
        settle(session);
        Broker broker = broker();
        broker.stop();
        broker.startAgain();
        MessageConsumer consumer = auto(connect()).createConsumer(queue());
        equal(DeliveryMode.PERSISTENT, take(consumer).getJMSDeliveryMode());
    }
}
